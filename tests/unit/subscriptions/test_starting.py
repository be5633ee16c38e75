"""What a consumer's first moments and its patience promise, in small."""

from __future__ import annotations

import pytest

import headwater as hw
from headwater.backend import Checkpoint
from headwater.testing.loans import CASE, loan


async def test_from_now_on_means_from_the_with(store: hw.EventStore) -> None:
    """Whatever is appended inside the block is handled, also by a consumer that is new and starts now."""
    for count in range(10):
        seen: list[int] = []

        async def handler(event: hw.Event, seen: list[int] = seen) -> None:
            seen.append(event.position)

        async with store.consumer(f"letters-{count}", handler, start=hw.NOW) as consumer:
            done = await store.append(CASE, loan(1))
            await consumer.wait_for(done)
        assert seen == [done.position]


async def test_a_start_that_is_refused_is_refused_at_once(store: hw.EventStore) -> None:
    consumer = store.consumer("letters", print, start=Checkpoint("another", 1))
    with pytest.raises(hw.ForeignCheckpoint):
        async with consumer:
            pytest.fail("it was entered")


async def test_waiting_for_a_store_is_no_attempt(store: hw.EventStore) -> None:
    """However often a store was away: the event's own failures have all their attempts."""
    failures = [hw.StoreUnavailable("the ledger is away", "Wait.")] * 5 + [ConnectionError("no answer")] * 2
    handled: list[int] = []

    async def handler(event: hw.Event) -> None:
        if failures:
            raise failures.pop(0)
        handled.append(event.position)

    await store.append(CASE, loan(1))
    consumer = store.consumer("billing", handler, retry=hw.Retry(attempts=3, first=0.001, most=0.002))
    async with consumer:
        await consumer.wait_for(await store.head(), timeout=20)
    assert failures == []
    assert len(handled) == 1
    assert [each async for each in store.parked("billing").all()] == []
