"""What tests of consumers are made of: a handler that keeps what it gets, a consumer brought up to date, a busy log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from headwater.events import Event
from headwater.store import EventStore
from headwater.subscriptions import Consumer, Every, Retry
from headwater.testing.loans import CASE, loan

__all__ = ["FAST", "OFTEN", "Seen", "busy", "caught_up"]

FAST = Retry(attempts=3, first=0.001, most=0.002)
OFTEN = Every(events=10, seconds=0.02)


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


async def caught_up(store: EventStore, consumer: Consumer) -> None:
    """Run the consumer up to the log's end, then stop it."""
    async with consumer:
        await consumer.wait_for(await store.head(), timeout=60)


async def busy(store: EventStore, number: int, done: asyncio.Event) -> None:
    """Append until told to stop."""
    count = 0
    while not done.is_set():
        await store.append(CASE if count % 4 == 0 else f"loan-{number}", loan(1 + count % 3, skip=count))
        count += 1
        await asyncio.sleep(0.002)
