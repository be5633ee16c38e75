"""A relay: follows the log and hands it, page by page, to a publisher that also keeps how far it has come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec

from headwater.backend import Checkpoint, Page
from headwater.errors import ForeignCheckpoint, StoreUnavailable
from headwater.events import Event
from headwater.queries import Query
from headwater.store import EventStore
from headwater.subscriptions import Feed, Retry

__all__ = ["Publisher", "Relay", "Relayed"]

log = logging.getLogger("headwater.relays")

T = TypeVar("T")

STRETCH = 1_000
"""Positions without a match after which the place is kept all the same."""
AGAIN = Retry(attempts=None, first=0.2, most=10.0)
"""How a broker that is away is tried again."""


class Relayed(msgspec.Struct, frozen=True):
    """How far a relay has come."""

    events: int
    """Published since it was made."""
    position: int
    """Everything up to here is published."""


class Publisher(Protocol):
    """What hands events to a broker. Its calls block; a relay makes them in one thread of its own."""

    @property
    def name(self) -> str:
        """Of the relay: one process publishes under it at a time."""
        ...

    @property
    def keeps_place(self) -> bool:
        """Whether it keeps the place together with the events. Else the store does, after them: at least once."""
        ...

    def open(self, store: str) -> Checkpoint | None:
        """Connect, put any other process that publishes under this name out of action, and say how far it came.

        Raises ``StoreUnavailable``.
        """
        ...

    def publish(self, events: Sequence[Event], place: Checkpoint) -> None:
        """All of the events, in order, and the place after them: with exactly-once delivery all or nothing.

        Raises ``Fenced`` where another process publishes under this name now, ``StoreUnavailable`` where it is not
        known what came of it: it is opened again then, which tells.
        """
        ...

    def close(self) -> None:
        """Let go of the connection. What is not published is not."""
        ...


class Relay:
    """Publishes a store's events. ``await Relay(store, publisher).run()``.

    Arguments:
        store: open; without a vault personal data stay sealed, which they should on their way out.
        publisher: where to, and how.
        query: only events that match.
        after: where a relay starts that has published nothing yet.
    """

    def __init__(
        self, store: EventStore, publisher: Publisher, *, query: Query | None = None, after: int | Checkpoint = 0
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._query = query
        self._after = after
        self._stopping = asyncio.Event()
        self._events = 0
        self._position = 0

    @property
    def relayed(self) -> Relayed:
        """How far it has come."""
        return Relayed(self._events, self._position)

    def stop(self) -> None:
        """Let ``run`` end after the page that is being published."""
        self._stopping.set()

    async def run(self, *, upto: int | None = None) -> None:
        """Publish what is there and what comes, until ``stop``; or until everything up to a position is published.

        A broker or a store that is away is tried again for ever. Raises ``Fenced`` where another process has taken
        over, ``ForeignCheckpoint`` where what was published came from another store.
        """
        attempt = 1
        with ThreadPoolExecutor(1, thread_name_prefix="headwater-relay") as thread:
            while not self._stopping.is_set():
                before = self._events
                try:
                    await self._follow(thread, upto)
                    return
                except StoreUnavailable as error:
                    if not error.transient:
                        raise
                    attempt = 1 if self._events > before else attempt + 1
                    log.warning("relay: %s", error)
                    await self._or_stopped(asyncio.sleep(AGAIN.pause(attempt)))
                finally:
                    await _in(thread, self._publisher.close)

    async def _follow(self, thread: ThreadPoolExecutor, upto: int | None) -> None:
        place = await _in(thread, partial(self._publisher.open, self._store.identity))
        if not self._publisher.keeps_place:
            place = await self._store.checkpoints.load(self._kept_as)
        self._position = kept = await self._start(place)
        feed = Feed(self._store._backend, self._store.limits, self._query, kept)
        try:
            while upto is None or self._position < upto:
                page = await self._or_stopped(feed.page())
                if page is None:
                    return
                if page.events or page.last >= kept + STRETCH:
                    await _in(thread, partial(self._publish, page))
                    if not self._publisher.keeps_place:
                        await self._store.checkpoints.save(self._kept_as, page.last)
                    self._events += len(page.events)
                    kept = page.last
                self._position = max(self._position, page.last)
        finally:
            await feed.close()

    @property
    def _kept_as(self) -> str:
        return f"relay/{self._publisher.name}"

    def _publish(self, page: Page) -> None:
        self._publisher.publish(page.events, Checkpoint(self._store.identity, page.last))

    async def _start(self, place: Checkpoint | None) -> int:
        found = self._after if place is None else place
        if not isinstance(found, Checkpoint):
            return found
        head = await self._store.head()
        if found.store != self._store.identity:
            raise ForeignCheckpoint(found, self._store.identity)
        if found.position > head:
            raise ForeignCheckpoint(found, self._store.identity, head)
        return found.position

    async def _or_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What the work gives; None where ``stop`` came first."""
        task = asyncio.ensure_future(work)
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for each in (task, stopped):
                each.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)


async def _in(thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(thread, work)
