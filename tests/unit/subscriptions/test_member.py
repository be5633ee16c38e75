"""What a member does at moments that chance rarely finds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

import headwater as hw
from headwater.backend import Record, RecordChange
from headwater.testing.conformance.groups import shared
from headwater.testing.consuming import Seen, busy
from headwater.testing.loans import loan


async def test_parts_taken_while_events_come() -> None:
    """Taking parts over needs several slow writes, and the log goes on meanwhile: nothing of it is left out."""
    async with hw.connect("memory:") as store:
        save = store._backend.save_records

        async def slowly(changes: Sequence[RecordChange]) -> list[int]:
            await asyncio.sleep(0.02)
            return await save(changes)

        store._backend.save_records = slowly  # type: ignore[method-assign]
        done, seen = asyncio.Event(), Seen()
        writing = [
            asyncio.create_task(busy(store, number, done)) for number in range(24)
        ]  # so many that each part has some
        first, second = (store.consumer("taken", seen, partitions=4, lease=0.4) for _ in range(2))
        async with first:
            async with second:
                await shared(store, "taken", [2, 2])
            await shared(store, "taken", [4])
            done.set()
            await asyncio.gather(*writing)
            await first.wait_for(await store.head())
        assert set(seen.positions) == {event.position async for event in store.read_all()}
        assert (await store.audit("taken")).missed == 0


async def test_a_member_that_sleeps_while_it_looks() -> None:
    """Frozen between saying that it lives and seeing who does, it finds itself dead, and goes on all the same."""
    async with hw.connect("memory:") as store:
        load, frozen = store._backend.load_records, 0

        async def late(prefix: str, after: str = "", limit: int = 10_000) -> list[Record]:
            nonlocal frozen
            records = await load(prefix, after, limit)
            frozen += any("/members/" in record.name for record in records)
            return [msgspec.structs.replace(record, age_us=record.age_us + 60_000_000) for record in records]

        store._backend.load_records = late  # type: ignore[method-assign]
        seen = Seen()
        await store.append("loan-1", loan(5))
        async with store.consumer("asleep", seen, lease=0.4) as consumer:
            await consumer.wait_for(await store.head(), timeout=10)
        assert len(seen.events) == 5
        assert frozen


class Late:
    """A sink whose second part is long in starting, and fails at first."""

    def __init__(self) -> None:
        self.handled: list[int] = []
        self.starts = 0

    async def start(self, part: int, position: int) -> int:
        if part == 1:
            self.starts += 1
            await asyncio.sleep(0.6)
            if self.starts == 1:
                raise hw.StoreUnavailable("its database is away", "Wait.")
        return position

    async def handle(self, part: int, events: Sequence[hw.Event]) -> None:
        self.handled += [event.position for event in events]


async def test_a_part_that_is_long_in_starting(caplog: pytest.LogCaptureFixture) -> None:
    """Meanwhile the member keeps its other parts; a start that fails is tried again."""
    async with hw.connect("memory:") as store:
        late = Late()
        async with store.consumer("late", late, partitions=2, lease=0.3) as consumer:
            for number in range(40):
                await store.append(f"loan-{number}", loan(1))
                await asyncio.sleep(0.02)
            await consumer.wait_for(await store.head(), timeout=10)
        assert sorted(late.handled) == [event.position async for event in store.read_all()]
        assert late.starts >= 2
        assert "its database is away" in caplog.text
        assert not [each for each in caplog.messages if "part 0 was taken over" in each]
