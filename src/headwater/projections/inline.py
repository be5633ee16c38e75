"""Handlers in the very transaction that appends: rows and events are committed together, or neither.

Each event handled so leaves a mark in the target. The projection's runner, which comes to every event in its turn,
sees the mark, skips the event and takes the mark away: so inline and asynchronous handling go together, and events
that other writers append are not missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from headwater.backend import Appended, Appender, Sealer, Write, sealer_of
from headwater.errors import NotCaughtUp
from headwater.events import Event
from headwater.projections.bookkeeping import Bookkeeping, Part, statement
from headwater.projections.handling import InvalidProjection
from headwater.projections.projection import Projection
from headwater.projections.targets import Connection
from headwater.projections.view import Tables, View
from headwater.queries import Query

__all__ = ["InlineAppender", "Reading"]


class Reading(Appender, Protocol):
    """An appender in a transaction that can also read there, as PostgreSQL's does."""

    async def events(self, ids: Sequence[bytes]) -> list[Event]:
        """The events with these ids, by position."""
        ...

    async def last_event(self, stream: str, before: int, types: Sequence[str] | None) -> Event | None:
        """The last event of a stream below a version, of these types."""
        ...


class InlineAppender:
    """Appends, then applies a projection's handlers to the new events, all by the caller's connection.

    ``NotCaughtUp`` where an earlier event of the same stream is still to be handled by the runner: handlers see the
    events of a stream in order.
    """

    def __init__(
        self,
        bound: Reading,
        connection: Any,
        path: str,
        prepare: Callable[[], Awaitable[str]],
        projection: Projection,
        query: Query | None,
        part_of: Callable[[Event, int], int],
        tables: Tables,
    ) -> None:
        self._bound = bound
        self._connection: Connection = connection
        self._path = path
        self._prepare = prepare
        self._projection = projection
        self._query = query
        self._part_of = part_of
        self._tables = tables
        self._rows = Bookkeeping(projection.name, projection.version, "")

    @property
    def sealer(self) -> Sealer | None:
        """See ``headwater.backend.sealer_of``."""
        return sealer_of(self._bound)

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        """See ``Appender.append``. Where a handler fails, nothing of its work stays; roll the transaction back."""
        target_id = await self._prepare()
        results = await self._bound.append(writes)
        new = [write for write, result in zip(writes, results, strict=True) if not result.duplicate]
        events = await self._bound.events([record.id for write in new for record in write.records]) if new else []
        wanted = [event for event in events if self._query is None or self._query.matches(event)]
        if wanted:
            earlier = await self._before(wanted)
            await asyncio.to_thread(self._apply, target_id, wanted, earlier)
        return results

    async def _before(self, wanted: Sequence[Event]) -> list[Event]:
        """The last event of each stream that the projection handles, before these. It came to its earlier ones too."""
        first = {event.stream: event for event in reversed(wanted)}
        found = [
            await self._bound.last_event(stream, event.version, self._projection.handlers.types)
            for stream, event in first.items()
            if stream is not None and event.version > 1
        ]
        return [each for each in found if each is not None and (self._query is None or self._query.matches(each))]

    def _apply(self, target_id: str, events: Sequence[Event], earlier: Sequence[Event]) -> None:
        connection = self._connection
        ((path,),) = connection.rows("select current_setting('search_path')")
        connection.execute("savepoint headwater_inline")
        try:
            connection.execute("select set_config('search_path', :path, true)", {"path": self._path})
            self._check_place(target_id)
            self._check_order(earlier)
            view = View(connection, self._tables)
            for event in events:
                self._projection.apply(event, view)
            self._rows.add_inlined(connection, [event.position for event in events])
            connection.execute("select set_config('search_path', :path, true)", {"path": path})
        except BaseException:
            connection.execute("rollback to savepoint headwater_inline")
            raise
        connection.execute("release savepoint headwater_inline")

    def _check_place(self, target_id: str) -> None:
        found = self._connection.rows("select to_regclass('headwater_target') is not null")
        if found != [(True,)] or self._connection.rows(statement("target")) != [(target_id,)]:
            raise InvalidProjection(
                self._projection.name,
                "the connection is to another database than the projection's tables are in",
                "Give a connection to the database that Projector(into=…) names.",
            )

    def _check_order(self, earlier: Sequence[Event]) -> None:
        if not earlier:
            return
        parts: list[Part] = self._rows.all_locked(self._connection)
        for event in earlier:
            reached = parts[self._part_of(event, len(parts))].position
            if event.position > reached and not self._rows.inlined(self._connection, event.position, event.position):
                name = f"{self._projection.name} version {self._projection.version}"
                raise NotCaughtUp(name, event.position, reached, 0.0)
