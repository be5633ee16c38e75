"""Scheduled appends: in order of time, once, whatever happens to whoever appends them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

import headwater as hw
from headwater.backend import Appended, RecordChange, Write
from headwater.backends.memory import MemoryBackend
from headwater.store import EventStore
from headwater.subscriptions import Scheduled, scheduling
from headwater.testing.loans import CASE, loan

NOW = timedelta(0)
LATER = timedelta(days=30)


def lapse(number: int = 0) -> hw.NewEvent:
    return hw.NewEvent("O_CANCELLED", {"offer": number})


async def waiting(store: EventStore) -> list[Scheduled]:
    return [each async for each in store.scheduled.all()]


async def offers(store: EventStore) -> list[int]:
    """The numbers of the offers that were cancelled, in the order of the log."""
    query = hw.Query([hw.QueryItem(types=["O_CANCELLED"])])
    return [event.data["offer"] async for event in store.read_all(query=query)]


async def test_nothing_before_it_is_due(store: EventStore) -> None:
    await store.scheduled.add(CASE, lapse(), due=timedelta(seconds=0.3))
    assert await store.scheduled.append_due() == 0
    assert await offers(store) == []
    await asyncio.sleep(0.35)
    assert await store.scheduled.append_due() == 1
    assert await offers(store) == [0]
    assert await waiting(store) == []
    assert await store.scheduled.append_due() == 0


async def test_in_order_of_time(store: EventStore) -> None:
    """Not of scheduling; a moment before 1970 is due as any other."""
    now = datetime.now(UTC)
    for number, seconds in enumerate((-1, -30, -20, -10)):
        await store.scheduled.add(CASE, lapse(number), due=now + timedelta(seconds=seconds))
    await store.scheduled.add(CASE, lapse(4), due=datetime(1969, 7, 20, tzinfo=UTC))
    await store.scheduled.add(CASE, lapse(5), due=now + LATER)
    assert [each.due_at for each in await waiting(store)] == sorted(each.due_at for each in await waiting(store))
    assert await store.scheduled.append_due() == 5
    assert await offers(store) == [4, 1, 2, 3, 0]
    assert len(await waiting(store)) == 1


async def test_what_is_known_of_it(store: EventStore) -> None:
    due = datetime(2031, 10, 1, 9, 30, tzinfo=timezone(timedelta(hours=2)))
    events = [lapse(), hw.NewEvent("A_CANCELLED", {}, tags=["applicant:112"])]
    added = await store.scheduled.add(CASE, events, due=due)
    assert await waiting(store) == [added]
    assert added.id == str(events[0].id)
    assert (added.stream, added.types, added.due_at) == (CASE, ("O_CANCELLED", "A_CANCELLED"), due)
    await store.scheduled.cancel(added.id)
    await store.scheduled.add(CASE, events, due=NOW)
    await store.scheduled.append_due()
    stored = [event async for event in store.read(CASE)]
    assert [event.id for event in stored] == [event.id for event in events]
    assert stored[1].tags == ("applicant:112",)


async def test_cancel(store: EventStore) -> None:
    kept = await store.scheduled.add(CASE, lapse(1), due=NOW)
    added = await store.scheduled.add(CASE, event := lapse(2), due=NOW)
    assert await store.scheduled.cancel(str(event.id).upper()) is True
    assert await store.scheduled.cancel(event.id) is False
    assert await store.scheduled.cancel(uuid.uuid4()) is False
    with pytest.raises(hw.InvalidEvent):
        await store.scheduled.cancel("not-an-id")
    assert await waiting(store) == [kept]
    assert await store.scheduled.append_due() == 1
    assert await offers(store) == [1]
    assert await store.scheduled.cancel(kept.id) is False
    assert added.id != kept.id


async def test_scheduling_again(store: EventStore) -> None:
    """The same events for the same moment are there once; other events under their id are refused."""
    due = datetime(2031, 10, 1, tzinfo=UTC)
    event = lapse()
    first = await store.scheduled.add(CASE, event, due=due)
    assert await store.scheduled.add(CASE, event, due=due) == first
    with pytest.raises(hw.DuplicateEvent):
        await store.scheduled.add(CASE, hw.NewEvent("O_SENT", {}, id=event.id), due=due)
    await store.scheduled.add(CASE, event, due=NOW)
    await store.scheduled.add(CASE, event, due=timedelta(microseconds=1))
    assert len(await waiting(store)) == 3
    await store.scheduled.append_due()
    assert await offers(store) == [0], "at another moment too it is one event"


@pytest.mark.parametrize(
    "due",
    [
        datetime(2031, 10, 1),
        "tomorrow",
        3,
        None,
        timedelta.max,
        timedelta(days=365 * 9000),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-2))),
    ],
    ids=repr,
)
async def test_no_moment(store: EventStore, due: Any) -> None:
    with pytest.raises(hw.InvalidEvent) as refused:
        await store.scheduled.add(CASE, lapse(), due=due)
    assert "due" in refused.value.what
    assert await waiting(store) == []


async def test_the_last_moment(store: EventStore) -> None:
    added = await store.scheduled.add(CASE, lapse(), due=datetime.max.replace(tzinfo=UTC))
    assert added.due_at.year == 9999
    assert await waiting(store) == [added]


@pytest.mark.parametrize(
    "events",
    [[], "O_CANCELLED", [hw.NewEvent("", {})], [hw.NewEvent("A", object())]],
    ids=["none", "text", "no type", "no JSON"],
)
async def test_what_cannot_be_appended_is_refused_at_once(store: EventStore, events: Any) -> None:
    with pytest.raises(hw.InvalidEvent):
        await store.scheduled.add(CASE, events, due=LATER)
    assert await waiting(store) == []


async def test_tombstoned_before(store: EventStore) -> None:
    await store.tombstone_stream(CASE)
    with pytest.raises(hw.StreamDeleted):
        await store.scheduled.add(CASE, lapse(), due=LATER)


async def test_tombstoned_meanwhile(store: EventStore) -> None:
    """What is refused when it is due is put aside with the reason, and holds nothing up."""
    await store.append(CASE, loan(1))
    refused = await store.scheduled.add(CASE, lapse(1), due=NOW)
    await store.scheduled.add("loan-1", lapse(2), due=NOW)
    await store.tombstone_stream(CASE)
    assert await store.scheduled.append_due() == 1
    assert await offers(store) == [2]
    (found,) = await waiting(store)
    assert found.id == refused.id
    assert found.error.startswith("StreamDeleted: ")
    assert await store.scheduled.append_due() == 0
    assert await store.scheduled.cancel(found.id) is True
    assert await waiting(store) == []


async def test_more_than_a_page(store: EventStore) -> None:
    count = 2 * scheduling.PAGE + 50
    start = datetime.now(UTC) - timedelta(hours=1)
    for number in range(count):
        await store.scheduled.add(f"loan-{number % 7}", lapse(number), due=start + timedelta(seconds=number))
    await store.scheduled.add(CASE, lapse(count), due=LATER)
    assert len(await waiting(store)) == count + 1
    last = [each.id for each in await waiting(store)][-2]
    assert await store.scheduled.cancel(last) is True
    assert await store.scheduled.append_due() == count - 1
    assert await offers(store) == list(range(count - 1))
    assert len(await waiting(store)) == 1


async def test_two_runners(shared_url: str) -> None:
    """They get into each other's way, and append each event once, in order."""
    async with hw.connect(shared_url) as store, hw.connect(shared_url) as other:
        start = datetime.now(UTC) - timedelta(hours=1)
        for number in range(250):
            await store.scheduled.add(CASE, lapse(number), due=start + timedelta(seconds=number))
        runners = [asyncio.create_task(each.scheduled.run()) for each in (store, other)]
        async with asyncio.timeout(60):
            while await waiting(store):
                await asyncio.sleep(0.02)
        store.scheduled.stop()
        other.scheduled.stop()
        await asyncio.gather(*runners)
        assert await offers(store) == list(range(250))


async def test_run_is_on_time(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wakes at once for what the same object adds, and when something is due; not by looking all the time."""
    monkeypatch.setattr(scheduling, "LOOK_SECONDS", 60.0)
    runner = asyncio.create_task(store.scheduled.run())
    await asyncio.sleep(0.1)
    await store.scheduled.add(CASE, lapse(1), due=timedelta(seconds=0.5))
    began = time.monotonic()
    await store.scheduled.add(CASE, lapse(2), due=NOW)
    async with asyncio.timeout(20):
        while await offers(store) != [2]:
            await asyncio.sleep(0.005)
        assert time.monotonic() - began < 0.45
        while await offers(store) != [2, 1]:
            await asyncio.sleep(0.005)
    assert 0.45 < time.monotonic() - began < 5
    store.scheduled.stop()
    await asyncio.wait_for(runner, 5)


async def test_run_sees_what_another_process_adds(shared_url: str) -> None:
    async with hw.connect(shared_url) as store, hw.connect(shared_url) as other:
        runner = asyncio.create_task(store.scheduled.run())
        await asyncio.sleep(0.1)
        await other.scheduled.add(CASE, lapse(1), due=NOW)
        async with asyncio.timeout(10):
            while await offers(store) != [1]:
                await asyncio.sleep(0.01)
        runner.cancel()
        with pytest.raises(asyncio.CancelledError):
            await runner


class Unsteady(MemoryBackend):
    """Fails where it is told to: as often as ``failures`` says, by method."""

    def __init__(self, **failures: int) -> None:
        super().__init__()
        self.failures = failures
        self.error: Exception = hw.StoreUnavailable("the store is away", "Wait.")

    def _may_fail(self, method: str) -> None:
        if self.failures.get(method, 0):
            self.failures[method] -= 1
            raise self.error

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        self._may_fail("before_append")
        appended = await super().append(writes)
        self._may_fail("after_append")
        return appended

    async def save_records(self, changes: Sequence[RecordChange]) -> list[int]:
        if any(change.value is None for change in changes):
            self._may_fail("remove")
        return await super().save_records(changes)


@pytest.mark.parametrize("moment", ["before_append", "after_append", "remove"])
async def test_killed_half_way(moment: str) -> None:
    """Between the marking and the append, or the append and the removal: the next runner doubles nothing."""
    store = EventStore(backend := Unsteady())
    added = [await store.scheduled.add(CASE, lapse(number), due=NOW) for number in range(5)]
    backend.failures[moment] = 1
    with pytest.raises(hw.StoreUnavailable):
        await store.scheduled.append_due()
    assert len(await waiting(store)) == 5
    assert await store.scheduled.cancel(added[0].id) is False, "too late: a runner has begun with it"
    await EventStore(backend).scheduled.append_due()
    assert await offers(store) == [0, 1, 2, 3, 4]
    assert await waiting(store) == []


@pytest.mark.parametrize(
    "error", [hw.StoreUnavailable("the store is away", "Wait."), hw.OutcomeUnknown(["1"], "the store went away")]
)
async def test_run_waits_while_the_store_is_away(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling, "LOOK_SECONDS", 0.02)
    store = EventStore(backend := Unsteady(before_append=3, after_append=2, remove=3))
    backend.error = error
    await store.scheduled.add(CASE, lapse(1), due=NOW)
    runner = asyncio.create_task(store.scheduled.run())
    async with asyncio.timeout(10):
        while await waiting(store):
            await asyncio.sleep(0.01)
    assert await offers(store) == [1]
    assert set(backend.failures.values()) == {0}
    store.scheduled.stop()
    await asyncio.wait_for(runner, 5)


async def test_run_ends_where_waiting_is_in_vain() -> None:
    store = EventStore(backend := Unsteady(before_append=1))
    backend.error = hw.StoreUnavailable("the disk can't be written", "Give permission.", transient=False)
    await store.scheduled.add(CASE, lapse(1), due=NOW)
    with pytest.raises(hw.StoreUnavailable, match="disk"):
        await asyncio.wait_for(store.scheduled.run(), 10)


async def test_a_stop_ends_every_run_and_none_after_it(store: EventStore) -> None:
    runners = [asyncio.create_task(store.scheduled.run()) for _ in range(3)]
    await asyncio.sleep(0.05)
    store.scheduled.stop()
    await asyncio.wait_for(asyncio.gather(*runners), 5)
    again = asyncio.create_task(store.scheduled.run())
    await store.scheduled.add(CASE, lapse(1), due=NOW)
    async with asyncio.timeout(10):
        while await offers(store) != [1]:
            await asyncio.sleep(0.005)
    assert not again.done()
    store.scheduled.stop()
    await asyncio.wait_for(again, 5)
