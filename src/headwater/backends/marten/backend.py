"""The backend itself: PostgreSQL's, over Marten's tables and what stands beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headwater.backend import Appended, Appender, Examined, Page, StreamInfo, StreamPolicy, Write
from headwater.backends.marten.calls import MartenCalls, query_there
from headwater.backends.marten.examining import examined
from headwater.backends.marten.layout import statements_for
from headwater.backends.marten.names import Names
from headwater.backends.marten.preparing import MartenBound, Preparer, not_allowed
from headwater.backends.marten.records import Rows
from headwater.backends.marten.schema import Found
from headwater.backends.marten.settled import Settled
from headwater.backends.marten.url import Target
from headwater.backends.postgres.backend import PostgresBackend, capabilities_of
from headwater.backends.postgres.connections import Connections
from headwater.backends.postgres.examining import Examination
from headwater.backends.postgres.reader import Reading
from headwater.backends.postgres.wakeup import LOOK_MOST_DEAF, Wakeup
from headwater.errors import InvalidEvent
from headwater.limits import Limits
from headwater.queries import ExpectedVersion, Query

__all__ = ["MartenBackend"]

CHANNEL = "mt_events_appended"
"""Where a Marten application tells, and hears, of appends, if it was told to (``UseListenNotifyForEventAppends``). Most
were not, so readers also look by themselves often."""


class MartenBackend(PostgresBackend):
    """See ``headwater.backend.Backend``. Bound to the event loop that it was opened in."""

    def __init__(self, target: Target, found: Found, limits: Limits) -> None:
        statements = statements_for(target, found.shape)
        connections = Connections(target.server)
        self._names = Names(found.shape)
        self._marten = target
        self._shape = found.shape
        rows = Rows(target, found.shape)
        self._preparer = Preparer(connections, statements, self._names, rows, target)
        super().__init__(
            target.server,
            connections,
            found.identity,
            capabilities_of("marten", durable=found.durable),
            statements,
            Settled(connections, statements, target),
            MartenCalls(statements, self._names, target),
            Reading(rows.event_of, seeks_max=0, key_of=self._names.key),
            Wakeup(connections, target.server, statements["tell"], CHANNEL, LOOK_MOST_DEAF),
            limits,
        )

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        return await super().append(await self._preparer.prepared(writes))

    def bind(self, connection: Any) -> Appender:
        """Appends inside the open transaction of a psycopg connection (of either kind) to the application's database.

        See ``headwater.backends.postgres.bound.BoundAppender`` for what the open transaction holds back; and the
        application's daemon does not pass its numbers either.
        """
        return MartenBound(connection, self._calls, self._statements, self._event_of, self._preparer, self._marten)

    async def read_stream(self, stream: str, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        page = await super().read_stream(stream, after, before, limit, backwards)
        return page if not page.events or page.events[0].stream == stream else Page([], after, more=False)

    async def read_all(self, query: Query | None, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        there = None if query is None else query_there(query, self._names, self._marten)
        return await super().read_all(there, after, before, limit, backwards)

    async def stream(self, name: str) -> StreamInfo | None:
        info = await super().stream(name)
        return info if info is not None and info.name == name else None

    async def set_policy(self, stream: str, policy: StreamPolicy) -> None:
        await self._check_name(stream)
        await super().set_policy(stream, policy)

    async def delete_stream(self, stream: str, expected: ExpectedVersion, tombstone: bool) -> None:
        await self._check_name(stream)
        if tombstone and not self._marten.appends:
            raise not_allowed("archiving a stream (which is what a tombstone is there)", "append=yes")
        await super().delete_stream(stream, expected, tombstone)

    async def examine(self) -> list[Examined]:
        looking = Examination(self._connections, self._statements, self._target, CHANNEL)
        return await examined(looking, self._connections, self._statements, self._marten, self._shape)

    async def _check_name(self, stream: str) -> None:
        """Refuse a name under which there can be no stream, or whose GUID is another stream's."""
        self._names.new_key(stream)
        info = await super().stream(stream)
        if info is not None and info.name != stream:
            raise InvalidEvent(f"the GUID of {stream!r} is that of stream {info.name!r}", "Use that name.")
