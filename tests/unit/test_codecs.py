"""Encoding: what can be stored, as which bytes, and what is refused with which remedy."""

from __future__ import annotations

import dataclasses
import decimal
import math
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headwater as hw
from headwater.codecs import checked_name, encode_event, encode_json
from headwater.limits import Limits

LIMITS = Limits()

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@dataclasses.dataclass
class Offer:
    amount: int
    made: date


class Loan(msgspec.Struct):
    amount: decimal.Decimal
    offers: list[Offer]


@given(JSON_VALUES)
def test_json_comes_back(value: Any) -> None:
    """Whatever JSON can hold comes back equal."""
    assert msgspec.json.decode(encode_json(value, "it")) == value


def test_lone_surrogates() -> None:
    """Half a character can't be written as UTF-8."""
    with pytest.raises(hw.InvalidEvent, match="surrogates"):
        encode_json({"note": ["\ud83d"]}, "it")


@given(st.lists(st.floats() | st.none()), st.sampled_from([list, tuple, lambda each: {"deep": {"er": each}}]))
def test_nan_is_refused(values: list[float | None], shape: Any) -> None:
    """NaN and infinities are refused wherever they stand; beside them, nulls are fine."""
    if all(each is None or math.isfinite(each) for each in values):
        encode_json(shape(values), "it")
    else:
        with pytest.raises(hw.InvalidEvent, match="NaN or an infinity"):
            encode_json(shape(values), "it")


def test_objects() -> None:
    loan = Loan(decimal.Decimal("7.25"), [Offer(20000, date(2011, 10, 1))])
    assert encode_json(loan, "it") == b'{"amount":"7.25","offers":[{"amount":20000,"made":"2011-10-01"}]}'
    assert encode_json({1: uuid.UUID(int=1)}, "it") == b'{"1":"00000000-0000-0000-0000-000000000001"}'


def test_nan_inside_objects() -> None:
    with pytest.raises(hw.InvalidEvent):
        encode_json(Offer(math.nan, date(2011, 10, 1)), "it")  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("value", [object(), {None: 1}, 1j, lambda: 1, [[object()]]])
def test_what_json_cannot_hold(value: Any) -> None:
    with pytest.raises(hw.InvalidEvent, match="can't be written as JSON"):
        encode_json(value, "it")


def test_too_deep_or_circular() -> None:
    circular: list[Any] = []
    circular.append(circular)
    with pytest.raises(hw.InvalidEvent):
        encode_json(circular, "it")


def test_record() -> None:
    moment = datetime(2011, 10, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    event = hw.NewEvent(
        "A_SUBMITTED", {"amount": 1}, id=uuid.UUID(int=7), metadata={"by": 1}, tags=["b", "a", "b"], occurred_at=moment
    )
    record = encode_event(event, LIMITS)
    assert (record.id, record.type, record.data, record.metadata) == (
        uuid.UUID(int=7).bytes,
        "A_SUBMITTED",
        b'{"amount":1}',
        b'{"by":1}',
    )
    assert (record.tags, record.content_type) == (("b", "a"), "application/json")
    assert record.occurred_us == int(datetime(2011, 10, 1, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize("data", [b"x", bytearray(b"x"), memoryview(b"x")])
def test_bytes(data: bytes) -> None:
    record = encode_event(hw.NewEvent("LetterScanned", data, content_type="image/tiff"), LIMITS)
    assert (record.data, type(record.data), record.content_type) == (b"x", bytes, "image/tiff")


def test_json_of_another_kind() -> None:
    kind = "application/vnd.loan+json"
    assert encode_event(hw.NewEvent("A", {"a": 1}, content_type=kind), LIMITS).content_type == kind


@pytest.mark.parametrize(
    ("event", "remedy"),
    [
        (hw.NewEvent("A", b"x"), "Say what the bytes are"),
        (hw.NewEvent("A", {}, content_type="image/tiff"), "Give the data as bytes"),
        (hw.NewEvent("A", b"{", content_type="application/json"), "Give valid JSON"),
        (hw.NewEvent("A", b"[" * 99_999, content_type="application/json"), "Give valid JSON"),
        (hw.NewEvent("A", {}, metadata=[1]), "Give a mapping"),  # type: ignore[arg-type]  # on purpose
        (hw.NewEvent("A", {}, occurred_at=datetime(2011, 10, 1)), "with a time zone"),
        (hw.NewEvent("A", {}, occurred_at="2011-10-01"), "with a time zone"),  # type: ignore[arg-type]  # on purpose
        (hw.NewEvent("", {}), "not empty"),
        ({"type": "A"}, "NewEvent"),
    ],
)
def test_refusals_say_what_to_do(event: Any, remedy: str) -> None:
    with pytest.raises(hw.InvalidEvent) as refused:
        encode_event(event, LIMITS)
    assert remedy in str(refused.value)


@pytest.mark.parametrize("name", ["loan-1", " ", "é", "\u2028", "\U0001f3e6", "a" * 10, "\u00a0", "\x80"])
def test_names(name: str) -> None:
    assert checked_name("stream name", name, "most", 10) == name


@pytest.mark.parametrize("name", ["", None, 7, b"x", "a\x00", "\n", "\x7f", "\ud800x", "a\udfff"])
def test_bad_names(name: Any) -> None:
    with pytest.raises(hw.InvalidEvent):
        checked_name("stream name", name, "most", 10)


@pytest.mark.parametrize(("name", "size"), [("a" * 11, 11), ("é" * 6, 12), ("\U0001f3e6" * 3, 12)])
def test_long_names(name: str, size: int) -> None:
    """Names are measured in bytes."""
    with pytest.raises(hw.TooLarge) as refused:
        checked_name("stream name", name, "stream_name_bytes_max", 10)
    assert (refused.value.size, refused.value.most) == (size, 10)
