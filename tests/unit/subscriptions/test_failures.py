"""Failures that are no plain exception of one event, and parked events that several look after at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import headwater as hw
from headwater.backend import Record
from headwater.subscriptions import Parked
from headwater.subscriptions.partitions import part_of
from headwater.testing.consuming import FAST, Seen
from headwater.testing.loans import CASE, loan


async def parked(store: hw.EventStore, name: str) -> list[Parked]:
    return [each async for each in store.parked(name).all()]


async def waits_for_a_cancelled_task(*_: object) -> None:
    call = asyncio.create_task(asyncio.sleep(60))
    call.cancel()
    await call


def finds_nothing(*_: object) -> None:
    next(iter(()))


@pytest.mark.parametrize("kind", ["consumer", "batches", "reactor"])
@pytest.mark.parametrize("handler", [waits_for_a_cancelled_task, finds_nothing])
async def test_failures_that_are_easily_lost(store: hw.EventStore, kind: str, handler: Callable[..., Any]) -> None:
    """A cancellation that is not the consumer's own, and the end of an iterator, are failures like any other: the
    consumer does not stand still over them."""
    await store.append(CASE, loan(2))
    if kind == "reactor":
        consumer = store.reactor("mail", handler, retry=FAST)
    else:
        consumer = store.consumer("mail", handler, retry=FAST, batch=10 if kind == "batches" else None)
    running = asyncio.create_task(consumer.run())
    await consumer.wait_for(await store.head(), timeout=5)
    consumer.stop()
    await running
    assert [each.attempts for each in await parked(store, "mail")] == [3, 3]


@pytest.mark.parametrize("on_failure", ["park", "park_key"])
async def test_parked_events_behind_a_rewind(store: hw.EventStore, on_failure: hw.OnFailure) -> None:
    """What comes again anyway is parked no more: nobody has to replay it, and it is handled once."""
    for version in range(1, 4):
        for number in range(4):
            await store.append(f"loan-{number}", loan(1, skip=version))
    positions = [event.position async for event in store.read_all()]
    seen = Seen(lambda event: event.stream in ("loan-1", "loan-2") and event.version < 3)
    consumer = store.consumer("mail", seen, partitions=2, on_failure=on_failure, retry=FAST, lease=0.4)
    async with consumer:
        await consumer.wait_for(await store.head())
    seen.events, seen.fails = [], lambda event: False
    await consumer.rewind(positions[2])
    assert {each.position for each in await parked(store, "mail")} == {positions[1], positions[2]}
    await store.parked("mail").drop()
    async with consumer:
        await consumer.wait_for(await store.head())
    assert sorted(seen.positions) == positions[3:]
    assert await parked(store, "mail") == []


class SlowLook:
    """Delays what one task sees of the parked events until it is told to go on."""

    def __init__(self, store: hw.EventStore, task: str) -> None:
        self.reached = asyncio.Event()
        self.going = asyncio.Event()
        self.on = False
        self._task = task
        self._load = store._backend.load_records
        store._backend.load_records = self.load  # type: ignore[method-assign]

    async def load(self, prefix: str, after: str = "", limit: int = 10_000) -> list[Record]:
        records = await self._load(prefix, after, limit)
        task, end_of_list = asyncio.current_task(), prefix == "parked/mail/" and not records
        if self.on and end_of_list and task is not None and task.get_name().endswith(self._task):
            self.reached.set()
            await self.going.wait()
        return records


async def test_keys_of_two_parts(store: hw.EventStore) -> None:
    """One part sees which of its keys are free again, slowly, while another parks an event: that one's key waits."""
    streams = {part_of(name, 2): name for name in (f"loan-{number}" for number in range(10))}
    seen, look = Seen(lambda event: event.version == 1), SlowLook(store, "part 0")
    await store.append(streams[0], loan(1))
    consumer = store.consumer("mail", seen, partitions=2, on_failure="park_key", retry=FAST, lease=2.0)
    async with asyncio.timeout(20), consumer:
        await consumer.wait_for(await store.head())
        look.on = True
        await look.reached.wait()  # the part's own key is blocked, so it looks again and again
        await store.append(streams[1], loan(1))
        while len(await parked(store, "mail")) < 2:
            await asyncio.sleep(0.01)
        look.going.set()
        await asyncio.sleep(0.02)  # so that it has made up its mind
        await consumer.wait_for(await store.append(streams[1], loan(1)))
    assert [event.stream for event in seen.events] == []
    assert [(each.stream, each.held) for each in await parked(store, "mail")] == [
        (streams[0], False),
        (streams[1], False),
        (streams[1], True),
    ]


@pytest.mark.parametrize("fails", [True, False])
async def test_dropped_while_it_is_tried(store: hw.EventStore, *, fails: bool) -> None:
    """A parked event that somebody drops while it is tried again stays dropped, whatever comes of that."""
    await store.append(CASE, loan(1))
    trying, going = asyncio.Event(), asyncio.Event()
    tries = 0

    async def handler(event: hw.Event) -> None:
        nonlocal tries
        tries += event.version == 1
        if event.version == 1 and tries == 4:
            trying.set()
            await going.wait()
        if event.version == 1 and (fails or tries < 4):
            raise ValueError("there is no such applicant")

    consumer = store.consumer("mail", handler, retry=FAST, lease=0.4)
    async with asyncio.timeout(20), consumer:
        await consumer.wait_for(await store.head())
        await store.parked("mail").replay()
        await trying.wait()
        await store.parked("mail").drop()
        going.set()
        await consumer.wait_for(await store.append(CASE, loan(1)))
    assert await parked(store, "mail") == []
    assert tries == 4
