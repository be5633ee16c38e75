"""Pages of a stream and of the log."""

from __future__ import annotations

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
        statement = self._statements["read_stream_backwards" if backwards else "read_stream"]
        values = {"stream": stream, "after": after, "before": END if before is None else before, "most": limit}
        events = [event_of(row) for row in await self._connections.rows(statement, values)]
        return Page(events, events[-1].version if events else after, len(events) == limit)

    async def read_all(self, query: Query | None, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        """See ``Backend.read_all``."""
        seeks = _encode(seeks_of(query)).decode() if query is not None and query.items else None
        end = END if before is None else before - 1
        if backwards:
            return await self._backwards(seeks, after, end, limit)
        return await self._forwards(seeks, after, end, limit)

    async def _forwards(self, seeks: str | None, after: int, end: int, limit: int) -> Page:
        """First what is known to be settled; then, where that does not fill the page, what is settled by now."""
        events: list[Event] = []
        known = min(self._gate.known, end)
        if known > after:
            events = await self._page(seeks, after, known, limit, backwards=False)
            after = known
        if len(events) < limit and after < end:
            horizon = min(await self._gate.horizon(), end)
            if horizon > after:
                events += await self._page(seeks, after, horizon, limit - len(events), backwards=False)
                after = horizon
        full = len(events) == limit
        return Page(events, events[-1].position if full else after, full)

    async def _backwards(self, seeks: str | None, after: int, end: int, limit: int) -> Page:
        upto = end if end <= self._gate.known else min(await self._gate.horizon(), end)
        events = await self._page(seeks, after, upto, limit, backwards=True)
        full = len(events) == limit
        return Page(events, events[-1].position if full else after, full)

    async def _page(self, seeks: str | None, after: int, upto: int, most: int, *, backwards: bool) -> list[Event]:
        name = ("read_log" if seeks is None else "read_matches") + ("_backwards" if backwards else "")
        values = {"after": after, "upto": upto, "most": most}
        if seeks is not None:
            values["seeks"] = seeks  # type: ignore[assignment]  # the only text among the numbers
        return [event_of(row) for row in await self._connections.rows(self._statements[name], values)]


_encode = msgspec.json.Encoder().encode
