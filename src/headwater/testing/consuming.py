"""What tests of consumers are made of: a handler that keeps what it gets, a consumer brought up to date, a busy log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

from headwater.backend import Page
from headwater.errors import WrongExpectedVersion
from headwater.events import Event, NewEvent
from headwater.store import EventStore
from headwater.subscriptions import Consumer, Every, Retry
from headwater.testing.loans import CASE, loan

__all__ = ["FAST", "OFTEN", "Reads", "RollBack", "Seen", "append_in_vain", "busy", "caught_up", "patience"]

PATIENCE_SECONDS = 30.0
"""How long a test waits for what must come at last. No promise of speed."""

FAST = Retry(attempts=3, first=0.001, most=0.002)
OFTEN = Every(events=10, seconds=0.02)


RollBack = Callable[[EventStore, str, list[NewEvent]], Awaitable[None]]
"""Appends to a stream in a transaction of the caller's own, and rolls it back."""


def patience() -> asyncio.Timeout:
    """A bound on waiting for what must come at last."""
    return asyncio.timeout(PATIENCE_SECONDS)


class Seen:
    """A handler that keeps what it got."""

    def __init__(self, fails: Callable[[Event], bool] = lambda event: False) -> None:
        self.events: list[Event] = []
        self.fails = fails

    async def __call__(self, event: Event) -> None:
        """Take an event in, or fail."""
        await asyncio.sleep(0)
        if self.fails(event):
            raise ValueError(f"no {event.type}")
        self.events.append(event)

    @property
    def positions(self) -> list[int]:
        """Where they are, in the order in which they came."""
        return [event.position for event in self.events]


class Reads:
    """Counts the events that are read of a store's log while the block runs."""

    def __init__(self, store: EventStore) -> None:
        self.events = 0
        self._backend: Any = store._backend

    def __enter__(self) -> Self:
        read_all = self._backend.read_all

        async def counted(*arguments: object) -> Page:
            page: Page = await read_all(*arguments)
            self.events += len(page.events)
            return page

        self._backend.read_all = counted
        return self

    def __exit__(self, *_: object) -> None:
        del self._backend.read_all


async def caught_up(store: EventStore, consumer: Consumer) -> None:
    """Run the consumer up to the log's end, then stop it."""
    async with consumer:
        await consumer.wait_for(await store.head(), timeout=2 * PATIENCE_SECONDS)


async def append_in_vain(store: EventStore, stream: str, roll_back: RollBack | None) -> None:
    """Appends that leave nothing: one that is refused, and one that is rolled back, where the backend knows that."""
    try:
        await store.append(stream, loan(2), expected=10**6)
    except WrongExpectedVersion:
        pass
    else:
        raise AssertionError("an append to a version that the stream has not was taken")
    if roll_back is not None:
        await roll_back(store, stream, loan(2))


async def busy(store: EventStore, number: int, done: asyncio.Event, roll_back: RollBack | None = None) -> None:
    """Append until told to stop; some of it is in vain."""
    count = 0
    while not done.is_set():
        if count % 8 == 4:
            await append_in_vain(store, f"loan-{number}", roll_back)
        await store.append(CASE if count % 4 == 0 else f"loan-{number}", loan(1 + count % 3, skip=count))
        count += 1
        await asyncio.sleep(0.002)
