"""Appends made ready for Marten's tables, by the store itself or in a transaction of the caller's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from headwater.backend import Appended, Write
from headwater.backends.marten.names import Names
from headwater.backends.marten.records import Rows
from headwater.backends.marten.url import Target
from headwater.backends.postgres.bound import BoundAppender
from headwater.backends.postgres.calls import Calls
from headwater.backends.postgres.connections import Connections
from headwater.backends.postgres.rows import EventOf
from headwater.backends.postgres.statements import Statements
from headwater.errors import NotSupported
from headwater.events import Event

__all__ = ["MartenBound", "Preparer", "not_allowed"]

LOOK_AGAIN_SECONDS = 60.0
"""After so long, an event type whose class in .NET was not found is looked for again."""


class Preparer:
    """Makes rows of the records of appends, and refuses what this store was not told that it may append."""

    def __init__(
        self, connections: Connections, statements: Statements, names: Names, rows: Rows, target: Target
    ) -> None:
        self._connections = connections
        self._statement = statements["dotnet_type"]
        self._names = names
        self._rows = rows
        self._target = target
        self._dotnet_types = dict(target.dotnet_types)

    async def prepared(self, writes: Sequence[Write]) -> list[Write]:
        """The writes, with ``Row``s for records. Raises ``NotSupported`` and ``InvalidEvent``."""
        prepared = []
        for write in writes:
            if write.stream is not None:
                self._names.new_key(write.stream)
            rows = []
            for record in write.records:
                alias = self._target.aliases.alias(record.type)
                if not self._target.may_append(alias):
                    raise not_allowed(f"appends of {record.type!r}", f"append={record.type}, or append=yes for all,")
                rows.append(self._rows.row(record, await self._dotnet_type(alias)))
            prepared.append(Write(write.stream, tuple(rows), write.expected, write.condition))
        return prepared

    def key(self, stream: str) -> str:
        """By what a stream's name is looked for."""
        return self._names.key(stream)

    def type_key(self, kind: str) -> str:
        """By what an event type is looked for."""
        return self._target.aliases.key(kind)

    async def _dotnet_type(self, alias: str) -> str:
        """Marten's name of the class of an event type: as the URL says, or the application's own events.

        '' where neither knows: an application that has not registered the alias then says so by name, which its daemon
        can be told to skip.
        """
        known = self._dotnet_types.get(alias)
        if known is None:
            found = await self._connections.rows(self._statement, (alias,))
            known = self._dotnet_types[alias] = found[0][0] if found else ""
            if not known:
                asyncio.get_running_loop().call_later(LOOK_AGAIN_SECONDS, self._dotnet_types.pop, alias, None)
        return known


class MartenBound(BoundAppender):
    """See ``BoundAppender``. The application's daemon does not pass the numbers of the open transaction either."""

    def __init__(
        self,
        connection: Any,
        calls: Calls,
        statements: Statements,
        event_of: EventOf,
        preparer: Preparer,
        target: Target,
    ) -> None:
        super().__init__(connection, calls, statements, event_of, target.server)
        self._preparer = preparer

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        """See ``Appender.append``. A refusal leaves the caller's transaction open and usable."""
        return await super().append(await self._preparer.prepared(writes))

    async def last_event(self, stream: str, before: int, types: Sequence[str] | None) -> Event | None:
        """See ``BoundAppender.last_event``."""
        keys = None if types is None else [self._preparer.type_key(kind) for kind in types]
        return await super().last_event(self._preparer.key(stream), before, keys)


def not_allowed(what: str, how: str) -> NotSupported:
    """Why something is not done to the application's tables unless the store's opener has said so."""
    return NotSupported(
        "the Marten backend",
        f"{what} unless it is told to",
        "The application's inline projections do not run for it, and what they keep would be stale. Where no such "
        f"projection is concerned, say {how} in the URL.",
    )
