"""What keeps readers from passing a missing number, for how long, and what is said where it was wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from tests.services.marten import MartenSchema
from tests.services.marten_dotnet import DotNet
from tests.services.marten_events import approved, requested
from tests.unit.backends.marten.conftest import Connecting, Rows

import headwater as hw
from headwater.testing.conformance.fixtures import whole_log

LOAN = "loan-173688"


async def _settles(store: hw.EventStore, position: int) -> None:
    async with asyncio.timeout(20):
        while await store.head() < position:
            await asyncio.sleep(0.02)


async def test_a_gap_is_passed_after_a_while(dotnet: DotNet, connecting: Connecting, rows: Rows) -> None:
    async with connecting(gap="0.3") as store:
        await dotnet.rich_append(LOAN, [requested()], commit=False)
        await dotnet.quick_append(LOAN, [requested()])
        assert await store.head() == 0
        assert await whole_log(store) == []
        await _settles(store, 2)
        assert [event.position for event in await whole_log(store)] == [2]
    own = await rows("SELECT first, last FROM headwater_{}.passed")
    assert own == [(1, 1)]
    async with connecting() as again:  # nobody has to find it out again
        assert await again.head() == 2


async def test_another_opener_is_of_the_same_opinion(dotnet: DotNet, connecting: Connecting) -> None:
    """What one has passed, the others pass at once: no reader is ever ahead of the head that another one sees."""
    async with connecting(gap="0.1") as one, connecting(gap="60") as other:
        await dotnet.rich_append(LOAN, [requested()], commit=False)
        await dotnet.quick_append(LOAN, [requested()])
        assert await other.head() == 0
        await _settles(one, 2)
        assert await other.head() == 2


async def test_a_writer_holds_it_as_long_as_it_writes(dotnet: DotNet, connecting: Connecting) -> None:
    """However long that is. Who only reads, or writes nothing yet, holds nobody."""
    go_on, there = asyncio.Event(), asyncio.Event()

    async def at(step: str) -> None:
        if step == "begun":
            there.set()
            await go_on.wait()

    async with connecting(gap="0.1") as store:
        writing = asyncio.create_task(dotnet.start_stream_quick("loan-1", [requested()], at=at))
        await there.wait()
        await dotnet.rich_append(LOAN, [requested()], commit=False)
        await dotnet.quick_append(LOAN, [requested()])
        await _settles(store, 2)  # the one above has begun, and written nothing
        go_on.set()
        await writing


async def test_a_number_drawn_long_before_it_is_stored(dotnet: DotNet, connecting: Connecting, rows: Rows) -> None:
    """In the transaction: readers wait as long as it takes."""
    there, go_on = asyncio.Event(), asyncio.Event()

    async def at(step: str) -> None:
        if step == "drawn":
            there.set()
            await go_on.wait()

    await dotnet.quick_append(LOAN, [requested()])
    async with connecting(gap="0.05") as store:
        writing = asyncio.create_task(dotnet.exclusive_append(LOAN, [approved()], at=at))
        await there.wait()
        await dotnet.quick_append("loan-2", [requested()])
        await asyncio.sleep(2.5)  # the pause, and the rounds for what is sent again
        assert [event.position for event in await whole_log(store)] == [1]
        go_on.set()
        await writing
        await _settles(store, 3)
        assert [event.stream for event in await whole_log(store)] == [LOAN, LOAN, "loan-2"]


async def test_what_came_too_late_is_told(dotnet: DotNet, connecting: Connecting) -> None:
    """A writer in mode Rich that stands still for longer than the gap: doctor names the event that was missed."""
    there, go_on = asyncio.Event(), asyncio.Event()

    async def at(step: str) -> None:
        if step == "drawn":
            there.set()
            await go_on.wait()

    async with connecting(gap="0.05") as store:
        frozen = asyncio.create_task(dotnet.rich_append(LOAN, [requested()], at=at))
        await there.wait()
        await dotnet.quick_append("loan-2", [requested()])
        await _settles(store, 2)
        found = [each for each in await store.examine() if each.subject == "horizon"]
        assert [each.state for each in found] == ["well"]
        go_on.set()
        await frozen
        (late,) = [each for each in await store.examine() if each.subject == "horizon"]
        assert late.state == "wrong"
        assert "event 1 (loan_requested, stream loan-173688)" in late.finding
        assert "Rewind the consumers to 0" in late.remedy


async def test_a_tombstone_is_never_late(dotnet: DotNet, connecting: Connecting) -> None:
    async with connecting() as store:
        lost = await dotnet.rich_append(LOAN, [requested()], commit=False)
        await dotnet.quick_append(LOAN, [requested()])
        await _settles(store, 2)
        await dotnet.tombstone(lost.numbers)
        assert [each.state for each in await store.examine() if each.subject == "horizon"] == ["well"]


async def test_long_writers_are_named(application: MartenSchema, store: hw.EventStore, monkeypatch: Any) -> None:
    monkeypatch.setattr("headwater.backends.marten.examining.HELD_SECONDS", 0.0)
    async with await psycopg.AsyncConnection.connect(application.conninfo, application_name="nightly") as connection:
        await connection.execute(f"UPDATE {application.schema}.mt_event_progression SET last_seq_id = 0".encode())
        notes = [each for each in await store.examine() if each.subject == "horizon" and "nightly" in each.finding]
        assert [(each.state, "pg_terminate_backend" in each.remedy) for each in notes] == [("note", True)]


async def test_a_sequence_that_went_back(dotnet: DotNet, connecting: Connecting, rows: Rows) -> None:
    """``DeleteAllEventData``, or a restored backup: readers would take new events for old ones."""
    async with connecting() as store:
        await dotnet.quick_append(LOAN, [requested(), approved()])
        assert await store.head() == 2
        await rows("DELETE FROM {}.mt_events")
        await rows("SELECT setval('{}.mt_events_sequence', 1)")
        with pytest.raises(hw.CorruptStore, match="sequence is at 1"):
            await store.head()


async def test_many_gaps_at_once(dotnet: DotNet, connecting: Connecting, rows: Rows) -> None:
    """All that was missing by one moment is passed together."""
    async with connecting(gap="0.2") as store:
        for number in range(30):
            await dotnet.rich_append(f"loan-{number}", [requested()], commit=False)
            await dotnet.quick_append(f"loan-{number}", [requested()])
        await _settles(store, 60)
        assert len(await whole_log(store)) == 30
    ((steps,),) = await rows("SELECT count(*) FROM headwater_{}.settled")
    assert steps < 10
