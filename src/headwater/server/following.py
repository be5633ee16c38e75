"""The log for many readers at once: who is at its end shares what comes, who is behind reads for himself.

What came last is kept in memory once, within bounds. A reader takes it from there; one that is too slow falls behind
what is kept, and reads the store again. So a slow reader costs nobody anything, and a thousand that wait cost one read.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple

from headwater.backend import size_of
from headwater.errors import HeadwaterError, StoreUnavailable
from headwater.events import Event
from headwater.queries import Query
from headwater.store import EventStore

__all__ = ["Following", "Stretch"]

log = logging.getLogger("headwater.server")

PAGE_EVENTS = 500
PAGE_BYTES = 524_288
"""What a reader holds at a time."""
KEPT_EVENTS = 10_000
KEPT_BYTES = 16_777_216
WAIT_SECONDS = 30.0
RETRY_SECONDS = 1.0


class Stretch(NamedTuple):
    """A part of the log: the events in it that a reader wants, and the position up to which that is all."""

    events: list[Event]
    upto: int
    live: bool
    """Nothing more is there now. The reader is at the end of the log."""
    kept: bool
    """It was in memory. Where a reader that was at the end gets one that was not, it has fallen behind."""


class Following:
    """The end of one store's log, for all its readers in this process."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._kept: deque[tuple[list[Event], int]] = deque()
        self._kept_events = self._kept_bytes = 0
        self._begin = self._position = -1
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def stretches(self, after: int, query: Query | None = None) -> AsyncGenerator[Stretch, None]:
        """The log after a position, for ever: what is there, then what comes. At its end, one that is ``live``."""
        live = False
        while True:
            stretch = self._recent(after, query) or await self._read(after, query)
            if stretch.upto > after or not live:
                yield stretch
            after, live = stretch.upto, stretch.live
            if live:
                await self._more(after)

    def _recent(self, after: int, query: Query | None) -> Stretch | None:
        """From what is kept; None where the reader is behind that."""
        if self._task is None or after < self._begin:
            return None
        found: list[Event] = []
        upto = after
        for events, last in self._kept:
            if last > after:
                found += [each for each in events if each.position > after and (query is None or query.matches(each))]
                upto = last
                if len(found) >= PAGE_EVENTS or size_of(found) >= PAGE_BYTES:
                    break
        return Stretch(found, upto, upto >= self._position, True)

    async def _read(self, after: int, query: Query | None) -> Stretch:
        head = await self._store.head()
        if head <= after:
            return Stretch([], after, True, False)
        found: list[Event] = []
        size = 0
        async with aclosing(self._store.read_all(after=after, before=head + 1, query=query)) as events:
            async for event in events:
                found.append(event)
                size += size_of([event])
                if len(found) == PAGE_EVENTS or size >= PAGE_BYTES:
                    return Stretch(found, event.position, False, False)
        return Stretch(found, head, True, False)

    async def _more(self, after: int) -> None:
        """Wait until there is more after a position."""
        if self._task is None:
            head = await self._store.head()
            if self._task is None:  # nobody else began meanwhile
                self._position = self._begin = min(after, head)  # what came since this reader's end is kept for it
                self._task = asyncio.create_task(self._follow())
        if self._position <= after:
            await self._news.wait()
        if self._closed:
            raise StoreUnavailable("the server is stopping", "Connect again: to another server, or in a moment.")

    async def _follow(self) -> None:
        while True:
            try:
                if await self._store.wait(self._position, timeout=WAIT_SECONDS):
                    self._keep(await self._read(self._position, None))
            except HeadwaterError as error:
                log.warning("the end of the log can't be read just now: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    def _keep(self, stretch: Stretch) -> None:
        if stretch.upto <= self._position:
            return
        self._kept.append((stretch.events, stretch.upto))
        self._kept_events += len(stretch.events)
        self._kept_bytes += size_of(stretch.events)
        while len(self._kept) > 1 and (self._kept_events > KEPT_EVENTS or self._kept_bytes > KEPT_BYTES):
            events, self._begin = self._kept.popleft()
            self._kept_events -= len(events)
            self._kept_bytes -= size_of(events)
        self._position = stretch.upto
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def close(self) -> None:
        """Stop reading, and end every reader that waits."""
        self._closed = True
        self._news.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
