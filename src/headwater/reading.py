"""Reading: the log and its streams as pages, from the backend, in the caller's order and within his limits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from headwater.backend import Backend, Checkpoint, Page, size_of
from headwater.codecs import check_place, check_query, checked_name
from headwater.errors import ForeignCheckpoint
from headwater.events import Event
from headwater.limits import Limits
from headwater.queries import Query

__all__ = ["Reading", "next_page_events"]

FIRST_PAGE_EVENTS = 100
"""Asked for until the size of these events is known."""


class Reading:
    """Pages of events, one held at a time."""

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self._backend = backend
        self._limits = limits

    def stream_pages(
        self, stream: str, after: int, before: int | None, limit: int | None, backwards: bool
    ) -> AsyncGenerator[list[Event], None]:
        """The events of a stream, by version."""
        checked_name("stream name", stream, "stream_name_bytes_max", self._limits.stream_name_bytes_max)

        async def fetch(after: int, before: int | None, most: int) -> Page:
            return await self._backend.read_stream(stream, after, before, most, backwards)

        return self._pages(fetch, after, before, limit, backwards)

    async def log_pages(
        self,
        after: int | Checkpoint,
        before: int | None,
        query: Query | None,
        limit: int | None,
        backwards: bool,
    ) -> AsyncGenerator[list[Event], None]:
        """The events of the log, by position."""
        if query is not None:
            check_query(query, self._limits)
        start = await self.position_of(after)

        async def fetch(after: int, before: int | None, most: int) -> Page:
            return await self._backend.read_all(query, after, before, most, backwards)

        async with aclosing(self._pages(fetch, start, before, limit, backwards)) as pages:
            async for events in pages:
                yield events

    async def position_of(self, after: int | Checkpoint) -> int:
        """The position that ``after`` names. ``ForeignCheckpoint`` where it is not one of this store."""
        if not isinstance(after, Checkpoint):
            return after
        if after.store != self._backend.identity:
            raise ForeignCheckpoint(after, self._backend.identity)
        head = await self._backend.head()
        if after.position > head:
            raise ForeignCheckpoint(after, self._backend.identity, head)
        return after.position

    async def _pages(
        self,
        fetch: Callable[[int, int | None, int], Awaitable[Page]],
        after: int,
        before: int | None,
        limit: int | None,
        backwards: bool,
    ) -> AsyncGenerator[list[Event], None]:
        """Pages until the end or the limit. The backend bounds a page's bytes; ask for as many as will probably fit."""
        check_place("after", after)
        check_place("before", before)
        check_place("limit", limit)
        left = limit
        most = min(FIRST_PAGE_EVENTS, self._limits.page_events_max)
        while left is None or left > 0:
            page = await fetch(after, before, most if left is None else min(most, left))
            if page.events:
                yield page.events
                left = None if left is None else left - len(page.events)
                most = next_page_events(page.events, self._limits)
            if not page.more:
                return
            if backwards:
                before = page.last
            else:
                after = page.last


def next_page_events(events: Sequence[Event], limits: Limits) -> int:
    """How many events the next page may hold, if they are as large as these on average."""
    average = max(1, size_of(events) // len(events))
    return max(1, min(limits.page_events_max, limits.page_bytes_max // average))
