"""Hostile, empty, large and foreign payloads and names: stored exactly, or refused; never bent, never executed."""

from __future__ import annotations

import math
from typing import Any

import pytest

from headwater.events import NewEvent
from headwater.queries import NO_STREAM, Query, QueryItem
from headwater.store import EventStore
from headwater.testing.conformance.fixtures import StorePromises, history, whole_log
from headwater.testing.loans import CASE, loan

NAMES = [
    "'; DROP TABLE events; --",
    'loan-"quoted"',
    "loan-`backtick`",
    "loan-\\",
    "loan-%_*?[]",
    "loan-$1 %s :name ?1 {0}",
    "-",
    "-loan",
    "loan-",
    "--",
    "$all",
    "null",
    "0",
    " ",
    " loan ",
    "loan/../../etc/passwd",
    "<script>alert(1)</script>",
    "贷款-一",
    "قرض-١",
    "loan-\U0001f3e6\U0001f468\u200d\U0001f469",
    "loan-e\u0301",
    "loan-\u202e321",
    "loan-\ufeff",
    "loan-\u2028",
    "x" * 512,
    "é" * 256,
]
"""Names that some technology would take for something else."""

PAYLOADS: list[Any] = [
    None,
    True,
    False,
    0,
    "",
    [],
    {},
    "NULL",
    "\u0000",
    {"\u0000": "a\u0000b"},
    {"": ""},
    {"a": {"a": {"a": []}}},
    {"b": 1, "a": 2, "B": 3, "aa": 4},
    "\\u0000",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "\u2028\u2029\ufeff\uffff\U0010ffff",
    "\x01\x1f\x7f\x80\r\n\t",
    "'; DROP TABLE events; --",
    '"\\"\'',
    1e300,
    -1e-300,
    5e-324,
    1.7976931348623157e308,
    -0.0,
    0.1 + 0.2,
    1.0,
    1e16,
    1e22,
    123456789.123456789,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
    2**64,
    10**40,
    -(10**100),
    [1, 1.0, "1", None, True],
    {str(number): number for number in range(1000)},
    ["x" * 1000] * 100,
]
"""JSON values that some technology would change."""


def _nested(depth: int) -> Any:
    value: Any = "bottom"
    for level in range(depth):
        value = [value] if level % 2 else {"in": value}
    return value


def _same(one: Any, other: Any) -> bool:
    """Equal, of the same type all through, and of the same sign where zero."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


class HostileInput(StorePromises):
    """Names and payloads from outside."""

    async def test_names(self, store: EventStore) -> None:
        """Every printable name is a stream of its own, found by exactly that name."""
        for name in NAMES:
            await store.append(name, loan(2, case=name[:9]), expected=NO_STREAM)
        for name in NAMES:
            assert [event.stream for event in await history(store, name)] == [name, name]
            info = await store.stream(name)
            assert info is not None
            assert (info.name, info.category, info.version) == (name, name.partition("-")[0], 2)
            assert [each.name async for each in store.streams(prefix=name, after=name[:-1])][:1] == [name]
            assert len(await whole_log(store, query=Query([QueryItem(streams=[name])]))) == 2
        assert [info.name async for info in store.streams()] == sorted(NAMES, key=str.encode)
        assert sum((await store.categories()).values()) == len(NAMES)

    async def test_types_and_tags(self, store: EventStore) -> None:
        """Every printable text is a type and a tag, found by exactly that text."""
        texts = [name for name in NAMES if len(name.encode()) <= 256]
        for text in texts:
            await store.append(CASE, NewEvent(text, {}, tags=[text, f"key:{text}"[:200]]))
        for number, text in enumerate(texts, 1):
            by_type = await whole_log(store, query=Query([QueryItem(types=[text])]))
            by_tag = await whole_log(store, query=Query([QueryItem(tags=[text])]))
            assert [event.version for event in by_type] == [event.version for event in by_tag] == [number]
            assert (by_tag[0].type, text in by_tag[0].tags) == (text, True)

    async def test_payloads(self, store: EventStore) -> None:
        """Every JSON value comes back as it was: the same value, of the same type."""
        await store.append(CASE, [NewEvent("Noted", payload) for payload in PAYLOADS])
        for payload, event in zip(PAYLOADS, await history(store, CASE), strict=True):
            assert _same(event.data, payload), f"{payload!r:.80} came back as {event.data!r:.80}"

    async def test_metadata(self, store: EventStore) -> None:
        """Metadata keeps every JSON value too."""
        payloads = [payload for payload in PAYLOADS if len(str(payload)) < 30_000]
        await store.append(CASE, [NewEvent("Noted", {}, metadata={"value": payload}) for payload in payloads])
        for payload, event in zip(payloads, await history(store, CASE), strict=True):
            assert _same(event.metadata, {"value": payload}), f"{payload!r:.80} came back as {event.metadata!r:.80}"

    @pytest.mark.parametrize("depth", [50, 400])
    async def test_deep_nesting(self, store: EventStore, depth: int) -> None:
        """Deeply nested data comes back as deep as it was."""
        await store.append(CASE, NewEvent("Noted", _nested(depth)))
        (event,) = await history(store, CASE)
        assert event.data == _nested(depth)

    async def test_json_bytes(self, store: EventStore) -> None:
        """JSON given as bytes keeps its value, though not necessarily its spaces."""
        raw = b' { "amount" : 2e4,\n "note" : "\\u00e9\\/\\u0000", "ids" : [ 12345678901234567890, -0.0 ] } '
        await store.append(CASE, NewEvent("Noted", raw, content_type="application/vnd.loans+json"))
        (event,) = await history(store, CASE)
        assert event.content_type == "application/vnd.loans+json"
        assert _same(event.data, {"amount": 20000.0, "note": "é/\u0000", "ids": [12345678901234567890, -0.0]})

    @pytest.mark.parametrize("blob", [b"", b"\x00", b"\xff\xfe", b"null", b"\x1f\x8b" + bytes(2000)])
    async def test_bytes(self, store: EventStore, blob: bytes) -> None:
        """Bytes are not looked at: empty, zero and invalid as text, they come back."""
        await store.append(CASE, NewEvent("LetterScanned", blob, content_type="application/octet-stream"))
        (event,) = await history(store, CASE)
        assert (event.data, event.content_type) == (blob, "application/octet-stream")

    async def test_one_mebibyte(self, store: EventStore) -> None:
        """Data up to the limit of 1 MiB is stored, as JSON and as bytes, incompressible too."""
        text = "".join(chr(0x4E00 + number * 7919 % 20000) for number in range(349_000))
        await store.append(CASE, NewEvent("LetterScanned", text))
        await store.append(CASE, NewEvent("LetterScanned", bytes(1_048_576), content_type="image/tiff"))
        first, second = await history(store, CASE)
        assert first.data == text
        assert second.data == bytes(1_048_576)

    async def test_many_tags(self, store: EventStore) -> None:
        """As many tags as the limit allows are kept, each findable."""
        tags = [f"label:{number:02}" for number in range(64)]
        await store.append(CASE, NewEvent("Noted", {}, tags=tags))
        (event,) = await whole_log(store, query=Query([QueryItem(tags=tags)]))
        assert sorted(event.tags) == tags
        assert len(await whole_log(store, query=Query([QueryItem(tags=["label:63"])]))) == 1

    async def test_large_append(self, store: EventStore) -> None:
        """An append of as many events as the limit allows is one append."""
        done = await store.append(CASE, [NewEvent("Noted", number) for number in range(10_000)])
        assert done.version == 10_000
        assert [event.data async for event in store.read(CASE, after=9_990)] == list(range(9_990, 10_000))
