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
        self._turn = asyncio.Lock()
        self._looking = 0  # appends that look something up, or wait for their turn to

    async def prepared(self, writes: Sequence[Write]) -> list[Write]:
        """The writes, with ``Row``s for records. Raises ``NotSupported`` and ``InvalidEvent``.

        Appends leave here in the order in which they came, also where one has to look something up.
        """
        self._check(writes)
        if not self._looking and not self._unknown(writes):
            return self._made(writes)
        self._looking += 1
        try:
            async with self._turn:
                for alias in self._unknown(writes):
                    await self._look_up(alias)
                return self._made(writes)
        finally:
            self._looking -= 1

    def _check(self, writes: Sequence[Write]) -> None:
        for write in writes:
            if write.stream is not None:
                self._names.new_key(write.stream)
            for record in write.records:
                if not self._target.may_append(self._target.aliases.alias(record.type)):
                    raise not_allowed(f"appends of {record.type!r}", f"append={record.type}, or append=yes for all,")

    def _unknown(self, writes: Sequence[Write]) -> list[str]:
        """The aliases whose classes in .NET are still to be looked for."""
        aliases = {self._target.aliases.alias(record.type) for write in writes for record in write.records}
        return [alias for alias in aliases if alias not in self._dotnet_types]

    def _made(self, writes: Sequence[Write]) -> list[Write]:
        prepared = []
        for write in writes:
            rows = [
                self._rows.row(record, self._dotnet_types[self._target.aliases.alias(record.type)])
                for record in write.records
            ]
            prepared.append(Write(write.stream, tuple(rows), write.expected, write.condition))
        return prepared

    def key(self, stream: str) -> str:
        """By what a stream's name is looked for."""
        return self._names.key(stream)

    def type_key(self, kind: str) -> str:
        """By what an event type is looked for."""
        return self._target.aliases.key(kind)

    async def _look_up(self, alias: str) -> None:
        """Marten's name of the class of an event type, as the application's own events have it.

        '' where none has: an application that has not registered the alias then says so by name, which its daemon can
        be told to skip.
        """
        found = await self._connections.rows(self._statement, (alias,))
        self._dotnet_types[alias] = found[0][0] if found else ""
        if not found:
            asyncio.get_running_loop().call_later(LOOK_AGAIN_SECONDS, self._forget, alias)

    def _forget(self, alias: str) -> None:
        if not self._looking:  # else somebody counts on it just now
            self._dotnet_types.pop(alias, None)


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
