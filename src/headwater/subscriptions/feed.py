"""The log from a position on: first what is there, then what comes, each event once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import msgspec

from headwater.backend import Backend, Page
from headwater.events import Event
from headwater.limits import Limits
from headwater.queries import Query
from headwater.reading import FIRST_PAGE_EVENTS, next_page_events
from headwater.waiting import running_loop

__all__ = ["CaughtUp", "Feed", "FellBehind", "Mark", "subscription_pages"]

WAIT_SECONDS = 30.0
"""One wait of a reader with nothing to read; it only bounds how long a lost signal of the backend can cost."""


class CaughtUp(msgspec.Struct, frozen=True):
    """A mark in a subscription: everything up to ``position`` was delivered, from here on events are live."""

    position: int


class FellBehind(msgspec.Struct, frozen=True):
    """A mark in a subscription: more events wait than a page holds; the reader catches up again after ``position``."""

    position: int


Mark = CaughtUp | FellBehind


class Feed:
    """Pages of the log after a position, for ever. Holds one page, and reads one ahead where an event loop runs."""

    def __init__(self, backend: Backend, limits: Limits, query: Query | None, after: int) -> None:
        self._backend = backend
        self._limits = limits
        self._query = query
        self._after = after
        self._most = min(FIRST_PAGE_EVENTS, limits.page_events_max)
        self._more = True  # whether something may be there without waiting
        self._ahead: asyncio.Task[Page] | None = None

    async def page(self) -> Page:
        """The next page. It may hold no events: then ``last`` says how far there is no match, or nothing came."""
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            try:
                page = await asyncio.shield(ahead)
            except asyncio.CancelledError:
                ahead.cancel()
                raise
        else:
            if not self._more:
                await self._backend.wait(self._after, WAIT_SECONDS)
            page = await self._read()
        self._after, self._more = page.last, page.more
        if page.events:
            self._most = next_page_events(page.events, self._limits)
        if page.more and running_loop() is not None:
            self._ahead = asyncio.get_running_loop().create_task(self._read())
        return page

    async def _read(self) -> Page:
        return await self._backend.read_all(self._query, self._after, None, self._most, False)

    async def close(self) -> None:
        """Give up the page that is being read ahead."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)


async def subscription_pages(feed: Feed, *, marks: bool) -> AsyncGenerator[list[Event | Mark], None]:
    """The pages of a subscription, with marks where they are wanted."""
    live = False
    try:
        while True:
            page = await feed.page()
            items: list[Event | Mark] = list(page.events)
            if marks and live and page.more:
                live = False
                items.insert(0, FellBehind(page.events[0].position - 1 if page.events else page.last))
            elif marks and not live and not page.more:
                live = True
                items.append(CaughtUp(page.last))
            if items:
                yield items
    finally:
        await feed.close()
