"""Pages of a stream and of the log."""

from __future__ import annotations

from typing import Any

import msgspec

from headwater.backend import Page
from headwater.backends.postgres.connections import Connections
from headwater.backends.postgres.gate import Gate
from headwater.backends.postgres.rows import event_of, seeks_of
from headwater.backends.postgres.statements import Statements
from headwater.events import Event
from headwater.queries import Query

__all__ = ["Reader"]

END = 2**63 - 1
"""Beyond every position and version."""
SEEKS_MAX = 20
"""From more seeks on, a query is answered window by window: each seek finds a page of its own, of which little is
used where there are many."""
WINDOW = 10_000
"""Positions in the first window; the next are four times as wide where little was found."""


class Reader:
    """Reads behind the gate. A stream needs no gate: the lock on its head lets its versions commit in order."""

    def __init__(self, connections: Connections, gate: Gate, statements: Statements) -> None:
        self._connections = connections
        self._gate = gate
        self._statements = statements

    async def event(self, id: bytes) -> Event | None:
        """See ``Backend.event``."""
        rows = await self._connections.rows(self._statements["event"], (id.hex(),))
        return event_of(rows[0]) if rows else None

    async def read_stream(self, stream: str, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        """See ``Backend.read_stream``."""
        name = "read_stream_backwards" if backwards else "read_stream"
        values = {"stream": stream, "after": after, "before": END if before is None else before, "most": limit}
        events = await self._events(name, values)
        return Page(events, events[-1].version if events else after, len(events) == limit)

    async def read_all(self, query: Query | None, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        """See ``Backend.read_all``."""
        seeks = seeks_of(query) if query is not None and query.items else None
        end = END if before is None else before - 1
        if backwards:
            upto = end if end <= self._gate.known else min(await self._gate.horizon(), end)
            events = await self._search(seeks, after, upto, limit, backwards=True)
            after = min(after, upto)
        else:
            events, after = await self._forwards(seeks, after, end, limit)
        full = len(events) == limit
        return Page(events, events[-1].position if full else after, full)

    async def _forwards(
        self, seeks: list[dict[str, Any]] | None, after: int, end: int, limit: int
    ) -> tuple[list[Event], int]:
        """First what is known to be settled; then, where that does not fill the page, what is settled by now.

        The events, and the position up to which the log was searched.
        """
        events: list[Event] = []
        known = min(self._gate.known, end)
        if known > after:
            events = await self._search(seeks, after, known, limit, backwards=False)
            after = known
        if len(events) < limit and after < end:
            horizon = min(await self._gate.horizon(), end)
            if horizon > after:
                events += await self._search(seeks, after, horizon, limit - len(events), backwards=False)
                after = horizon
        return events, after

    async def _search(
        self, seeks: list[dict[str, Any]] | None, after: int, upto: int, most: int, *, backwards: bool
    ) -> list[Event]:
        """The first events with ``after < position <= upto``: all, or those that a seek finds."""
        suffix = "_backwards" if backwards else ""
        if seeks is None:
            return await self._events("read_log" + suffix, {"after": after, "upto": upto, "most": most})
        found: list[Event] = []
        width = WINDOW if len(seeks) > SEEKS_MAX else END
        values: dict[str, Any] = {"seeks": _encode(seeks).decode()}
        while after < upto and len(found) < most:
            low, high = (max(after, upto - width), upto) if backwards else (after, min(upto, after + width))
            values |= {"after": low, "upto": high, "most": most - len(found)}
            found += await self._events("read_matches" + suffix, values)
            after, upto = (after, low) if backwards else (high, upto)
            width *= 4 if len(found) < most // 4 else 1
        return found

    async def _events(self, name: str, values: dict[str, Any]) -> list[Event]:
        return [event_of(row) for row in await self._connections.rows(self._statements[name], values)]


_encode = msgspec.json.Encoder().encode
