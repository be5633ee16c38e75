"""When a consumer keeps its place: after so many events, after so many seconds, and at its stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

import headwater as hw
from headwater.subscriptions.parts import Part
from headwater.subscriptions.states import PartState, Progress
from headwater.testing.consuming import Seen, caught_up
from headwater.testing.loans import CASE, loan

NEVER = 3_600.0
"""Seconds: of a checkpoint, or of a lease, that the test does not want to see."""


class Until:
    """A handler that takes so many events in, and gets stuck in the next one."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.stuck = asyncio.Event()
        self.going = asyncio.Event()

    async def __call__(self, event: hw.Event) -> None:
        if not self.left:
            self.stuck.set()
            await self.going.wait()
        else:
            self.left -= 1


async def kept(store: hw.EventStore, name: str, wanted: Callable[[PartState], bool]) -> PartState:
    """What is written down of the consumer's only part, once it is as wanted."""
    async with asyncio.timeout(20):
        while not wanted(state := (await store.consumers.parts(name))[0]):
            await asyncio.sleep(0.01)
    return state


async def test_place_kept_every_so_many_events(store: hw.EventStore) -> None:
    """However fast the handler is: a kill costs that many events, and no more."""
    await store.append(CASE, loan(100))
    positions = [event.position async for event in store.read_all()]
    handler = Until(97)
    every = hw.Every(events=10, seconds=NEVER)
    async with store.consumer("billing", handler, checkpoint=every, lease=NEVER) as consumer, asyncio.timeout(20):
        await handler.stuck.wait()
        assert (await store.consumers.parts("billing"))[0].progress.position == positions[89]
        handler.going.set()
        await consumer.wait_for(await store.head())
    assert (await store.consumers.parts("billing"))[0].progress.position == await store.head()


async def test_place_kept_every_so_many_seconds(store: hw.EventStore) -> None:
    await store.append(CASE, loan(10))
    positions = [event.position async for event in store.read_all()]
    handler = Until(0)
    every = hw.Every(events=1_000_000, seconds=0.02)
    async with store.consumer("billing", handler, checkpoint=every, lease=NEVER), asyncio.timeout(20):
        await handler.stuck.wait()
        handler.left = 3
        handler.going.set()
        await kept(store, "billing", lambda state: state.progress.position >= positions[3])


async def test_a_stop_waits_for_the_event_only(store: hw.EventStore) -> None:
    """A handler that was fast and has become slow is not given hundreds of events at once: when the consumer is
    stopped, what is handled is kept, and nothing of it comes again."""
    await store.append(CASE, loan(1_000))
    handled: list[int] = []
    slow = asyncio.Event()

    async def handler(event: hw.Event) -> None:
        if event.version > 500:
            await asyncio.sleep(0.06)
        handled.append(event.version)
        if event.version > 502:
            slow.set()

    async with store.consumer("billing", handler, lease=1.0), asyncio.timeout(20):
        await slow.wait()
    assert len(handled) < 520
    seen = Seen()
    await caught_up(store, store.consumer("billing", seen))
    assert [event.version for event in seen.events] == list(range(len(handled) + 1, 1_001))


async def test_an_account_that_begins_anew(store: hw.EventStore) -> None:
    """Where a sink goes on at a place of its own, its events count from there, not from what was counted before."""
    await store.append(CASE, loan(30))
    events = [event async for event in store.read_all()]
    first = events[20].position
    state = PartState(Progress(events[-1].position, 0, count=30))
    part = Part(store._backend, "rows", 0, state, 0, time.monotonic() + NEVER)
    part.start_at(first)
    assert part.unsaved == 0
    part.advance(events[21:])
    assert part.unsaved == 9
    await part.save()
    (record,) = await store._backend.load_records("consumers/rows/parts/")
    assert msgspec.json.decode(record.value, type=PartState).rate > 0
