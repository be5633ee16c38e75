"""Events, their ids and moments."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest

import headwater as hw
from headwater.events import Event, category_of, datetime_of, is_json, microseconds_of, uuid7


def test_uuid7_has_its_version_and_time() -> None:
    before = datetime.now(UTC)
    made = uuid7()
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    moment = datetime.fromtimestamp((made.int >> 80) / 1000, UTC)
    assert before - timedelta(seconds=1) < moment < datetime.now(UTC) + timedelta(seconds=1)


def test_uuid7_rises() -> None:
    """Ids sort in the order they were made, as numbers and as texts."""
    made = [uuid7() for _ in range(20_000)]
    assert made == sorted(made)
    assert list(map(str, made)) == sorted(map(str, made))


def test_uuid7_is_unique_over_threads() -> None:
    made: list[uuid.UUID] = []
    threads = [threading.Thread(target=lambda: made.extend(uuid7() for _ in range(5_000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 20_000


@pytest.mark.parametrize(
    ("stream", "category"),
    [("loan-173688", "loan"), ("loan", "loan"), ("loan-1-2", "loan"), ("-1", ""), ("loan-", "loan"), ("å-1", "å")],
)
def test_category(stream: str, category: str) -> None:
    assert category_of(stream) == category


@pytest.mark.parametrize(
    ("content_type", "json"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("application/vnd.loan+json", True),
        ("application/vnd.loan+json;v=1", True),
        ("application/jsonl", False),
        ("text/plain", False),
        ("application/octet-stream", False),
    ],
)
def test_is_json(content_type: str, json: bool) -> None:
    assert is_json(content_type) is json


def test_new_event_makes_its_id_once() -> None:
    event = hw.NewEvent("A_SUBMITTED", {"amount": 20000})
    assert event.id.version == 7
    assert event.id == event.id
    assert hw.NewEvent("A_SUBMITTED", {}).id != event.id


@pytest.mark.parametrize("id", [uuid.UUID(int=7), str(uuid.UUID(int=7)), uuid.UUID(int=7).hex])
def test_new_event_takes_an_id(id: uuid.UUID | str) -> None:
    assert hw.NewEvent("A_SUBMITTED", {}, id=id).id == uuid.UUID(int=7)


@pytest.mark.parametrize("id", ["173688", "", 173688, b"x" * 16, "g" * 32])
def test_new_event_refuses_another_id(id: object) -> None:
    with pytest.raises(hw.InvalidEvent, match="uuid5"):
        hw.NewEvent("A_SUBMITTED", {}, id=id)  # type: ignore[arg-type]  # on purpose


def test_tags_are_no_text() -> None:
    with pytest.raises(hw.InvalidEvent, match=r"tags=\['applicant:112'\]"):
        hw.NewEvent("A_SUBMITTED", {}, tags="applicant:112")


def test_new_event_is_shown() -> None:
    event = hw.NewEvent("A_SUBMITTED", {"amount": 1}, id=uuid.UUID(int=7), tags=("a",))
    shown = repr(event)
    assert shown == ("NewEvent('A_SUBMITTED', {'amount': 1}, id='00000000-0000-0000-0000-000000000007', tags=['a'])")


def _event(content_type: str = "application/json", data: bytes = b'{"amount":20000}', metadata: bytes = b"") -> Event:
    return Event(3, "loan-1", 2, uuid.UUID(int=7).bytes, "A", data, metadata, (), content_type, 1_500_000, None)


def test_event_decodes_on_demand() -> None:
    event = _event(metadata=b'{"by":"112"}')
    assert (event.data, event.metadata, event.id, event.category) == (
        {"amount": 20000},
        {"by": "112"},
        uuid.UUID(int=7),
        "loan",
    )
    assert event.recorded_at == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
    assert event.occurred_at is None
    assert event.data is not event.data


def test_event_of_bytes() -> None:
    assert _event("image/tiff", b"\xff").data == b"\xff"


def test_event_is_frozen_and_hashable() -> None:
    event = _event()
    with pytest.raises(AttributeError):
        event.position = 4  # type: ignore[misc]  # on purpose
    assert event == _event()
    assert hash(event) == hash(_event())


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2011, 10, 1, 0, 38, 44, 546_000, tzinfo=timezone(timedelta(hours=2))),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
)
def test_moments_keep_their_microseconds(moment: datetime) -> None:
    assert datetime_of(microseconds_of(moment)) == moment
