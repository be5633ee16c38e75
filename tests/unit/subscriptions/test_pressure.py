"""What a slow handler holds: a few pages, whatever waits, and however it is slow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import headwater as hw
from headwater.subscriptions.partitions import part_of
from headwater.testing.consuming import FAST, Reads, Seen
from headwater.testing.loans import CASE, loan

PAGE = 20
LIMITS = hw.Limits(page_events_max=PAGE)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[hw.EventStore]:
    """A store that is read in small pages, with 1,000 events of ten loans."""
    url = {"memory": "memory:", "sqlite": f"sqlite:///{tmp_path}/loans.db"}.get(request.param)
    async with hw.connect(url or request.getfixturevalue("postgres_schema_url"), limits=LIMITS) as opened:
        for number in range(50):
            await opened.append(f"loan-{number % 10}", loan(20))
        yield opened


@pytest.mark.parametrize("partitions", [1, 4])
async def test_events_held(store: hw.EventStore, partitions: int) -> None:
    """From the first event to the last, no more than four pages are read and not yet handled."""
    handled, most = 0, 0

    async def handler(event: hw.Event) -> None:
        nonlocal handled, most
        await asyncio.sleep(0.001 if event.version % 10 == 0 else 0)
        most = max(most, reads.events - handled)
        handled += 1

    with Reads(store) as reads:
        async with store.consumer("slow", handler, partitions=partitions) as consumer:
            await consumer.wait_for(await store.head())
    assert handled == 1_000
    assert PAGE < most <= 4 * PAGE


async def test_batches_held(store: hw.EventStore) -> None:
    """A batch that is larger than a page does not make more pages wait for it."""
    handled, most = 0, 0

    async def handler(events: list[hw.Event]) -> None:
        nonlocal handled, most
        await asyncio.sleep(0.002)
        most = max(most, reads.events - handled)
        handled += len(events)

    with Reads(store) as reads:
        async with store.consumer("slow", handler, batch=10 * PAGE) as consumer:
            await consumer.wait_for(await store.head())
    assert handled == 1_000
    assert most <= 4 * PAGE


async def test_one_part_stands_still(store: hw.EventStore) -> None:
    """The other parts go on as far as the pages reach that are held, and when it goes on, all do."""
    going, handled = asyncio.Event(), 0
    stuck = part_of("loan-3", 4)

    async def handler(event: hw.Event) -> None:
        nonlocal handled
        if part_of(event.stream or "", 4) == stuck:
            await going.wait()
        handled += 1

    with Reads(store) as reads:
        async with store.consumer("slow", handler, partitions=4, lease=0.4) as consumer:
            await asyncio.sleep(0.5)  # some looks at the others, during which the feed might begin anew
            assert 0 < handled < reads.events <= handled + 4 * PAGE
            going.set()
            await consumer.wait_for(await store.head())
    assert handled == 1_000


async def test_parked_events_wait_once(store: hw.EventStore) -> None:
    """While a handler stands still, what is to be replayed is not put into its queue again and again."""
    seen = Seen(lambda event: event.stream == "loan-1")
    going = asyncio.Event()

    async def handler(event: hw.Event) -> None:
        if event.stream == CASE:
            await going.wait()
        await seen(event)

    async with store.consumer("mail", handler, retry=FAST, on_failure="park_key", lease=0.1) as consumer:
        await consumer.wait_for(await store.head())
        done = await store.append(CASE, loan(1))
        await asyncio.sleep(0.1)
        assert consumer._member is not None
        (part,) = consumer._member.parts.values()
        await store.parked("mail").replay()
        await asyncio.sleep(0.4)
        assert part.queue.qsize() <= 4
        seen.fails = lambda event: False
        going.set()
        await consumer.wait_for(done)
        async with asyncio.timeout(20):
            while (await store.consumers.info("mail")).parked:
                await asyncio.sleep(0.01)
    assert [event.version for event in seen.events if event.stream == "loan-1"] == list(range(1, 101))


async def test_appends_do_not_wait(store: hw.EventStore) -> None:
    """While a handler blocks its thread, appends of the same process are stored and read."""
    going, stuck = threading.Event(), threading.Event()

    def handler(event: hw.Event) -> None:
        stuck.set()
        going.wait(30)

    async with store.consumer("slow", handler) as consumer:
        await asyncio.to_thread(stuck.wait, 30)
        for _ in range(30):
            await store.append(CASE, loan(1))
        assert len([event async for event in store.read(CASE)]) == 30
        going.set()
        await consumer.wait_for(await store.head())
