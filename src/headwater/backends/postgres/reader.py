"""Pages of a stream and of the log."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec

from headwater.backend import Page, size_of
from headwater.backends.postgres.connections import Connection, Connections
from headwater.backends.postgres.direct import row_chunks
from headwater.backends.postgres.gate import Horizon
from headwater.backends.postgres.rows import EventOf, seeks_of
from headwater.backends.postgres.statements import Statements
from headwater.events import Event
from headwater.queries import Query

__all__ = ["Reader", "Reading"]

END = 2**63 - 1
"""Beyond every position and version."""
CHUNK = 16
"""Rows taken off the wire at a time; between two chunks, the size of the page is looked at."""
WINDOW = 10_000
"""Positions in the first window; the next are four times as wide where little was found."""


class Reading(NamedTuple):
    """How the rows of one layout of tables are read."""

    event_of: EventOf
    seeks_max: int = 20
    """From more seeks on, a query is answered window by window: each seek finds a page of its own, of which little is
    used where there are many."""
    key_of: Callable[[str], str] = str
    """By what a stream's name is looked for."""


class Reader:
    """Reads behind the gate. A stream needs no gate: the lock on its head lets its versions commit in order."""

    def __init__(
        self, connections: Connections, gate: Horizon, statements: Statements, reading: Reading, bytes_max: int
    ) -> None:
        self._connections = connections
        self._bytes_max = bytes_max  # of a page
        self._gate = gate
        self._statements = statements
        self._reading = reading

    async def event(self, id: bytes) -> Event | None:
        """See ``Backend.event``."""
        rows = await self._connections.rows(self._statements["event"], (id.hex(),))
        return self._reading.event_of(rows[0]) if rows else None

    async def read_stream(self, stream: str, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        """See ``Backend.read_stream``."""
        page = _Page(self._reading.event_of, limit, self._bytes_max)
        name = "read_stream_backwards" if backwards else "read_stream"
        await self._fill(page, name, after, END if before is None else before, self._reading.key_of(stream).encode())
        return Page(page.events, page.events[-1].version if page.events else after, page.full)

    async def read_all(self, query: Query | None, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        """See ``Backend.read_all``."""
        page = _Page(self._reading.event_of, limit, self._bytes_max)
        seeks = seeks_of(query) if query is not None and query.items else None
        end = END if before is None else before - 1
        if backwards:
            upto = end if end <= self._gate.known else min(await self._gate.horizon(), end)
            await self._search(page, seeks, after, upto, backwards=True)
            after = min(after, upto)
        else:
            after = await self._forwards(page, seeks, after, end)
        return Page(page.events, page.events[-1].position if page.full else after, page.full)

    async def _forwards(self, page: _Page, seeks: list[dict[str, Any]] | None, after: int, end: int) -> int:
        """First what is known to be settled; then, where that does not fill the page, what is settled by now.

        Returns the position up to which the log was searched.
        """
        known = min(self._gate.known, end)
        if known > after:
            await self._search(page, seeks, after, known, backwards=False)
            after = known
        if not page.full and after < end:
            horizon = min(await self._gate.horizon(), end)
            if horizon > after:
                await self._search(page, seeks, after, horizon, backwards=False)
                after = horizon
        return after

    async def _search(
        self, page: _Page, seeks: list[dict[str, Any]] | None, after: int, upto: int, *, backwards: bool
    ) -> None:
        """Add the first events with ``after < position <= upto``: all, or those that a seek finds."""
        suffix = "_backwards" if backwards else ""
        if seeks is None:
            await self._fill(page, "read_log" + suffix, after, upto)
            return
        width = WINDOW if len(seeks) > self._reading.seeks_max else END
        while after < upto and not page.full:
            low, high = (max(after, upto - width), upto) if backwards else (after, min(upto, after + width))
            found = -len(page.events)
            await self._fill(page, "read_matches" + suffix, low, high, _encode(seeks))
            found += len(page.events)
            after, upto = (after, low) if backwards else (high, upto)
            width *= 4 if found < page.events_max // 4 else 1

    async def _fill(self, page: _Page, name: str, after: int, upto: int, *more: bytes) -> None:
        """Add what a statement finds, until the page is full."""
        numbers = [b"%d" % number for number in (after, upto, page.events_max - len(page.events))]
        statement = self._statements[name]

        async def work(connection: Connection) -> tuple[list[Event], int]:
            return await page.more(connection, statement, [*numbers, *more])

        page.add(*await self._connections.call(work))


class _Page:
    """A page that fills: at most so many events, and, the last few aside, at most so many bytes."""

    def __init__(self, event_of: EventOf, events_max: int, bytes_max: int) -> None:
        self.event_of = event_of
        self.events: list[Event] = []
        self.events_max = events_max
        self._bytes_left = bytes_max

    @property
    def full(self) -> bool:
        return len(self.events) >= self.events_max or self._bytes_left <= 0

    def add(self, events: list[Event], size: int) -> None:
        self.events += events
        self._bytes_left -= size

    async def more(self, connection: Connection, statement: str, values: list[bytes]) -> tuple[list[Event], int]:
        """What the statement finds, as far as there is room, and its size; the page itself is not changed."""
        events: list[Event] = []
        size = 0
        async with aclosing(row_chunks(connection, statement, values, CHUNK)) as chunks:
            async for rows in chunks:
                chunk = [self.event_of(row) for row in rows]
                events += chunk
                size += size_of(chunk)
                if size >= self._bytes_left:
                    break
        return events, size


_encode = msgspec.json.Encoder().encode
