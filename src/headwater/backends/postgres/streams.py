"""Streams as things: listing them, hiding their events, retiring their names."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from headwater.appending import check_deletion
from headwater.backend import StreamInfo, StreamPolicy, StreamState, beyond
from headwater.backends.postgres.connections import Connection, Connections, fetched
from headwater.backends.postgres.rows import stream_of
from headwater.backends.postgres.statements import Statements
from headwater.queries import ANY, ExpectedVersion

__all__ = ["Streams"]


class Streams:
    """Reads and writes the table of stream heads."""

    def __init__(self, connections: Connections, statements: Statements, key_of: Callable[[str], str]) -> None:
        self._connections = connections
        self._statements = statements
        self._key_of = key_of

    async def stream(self, name: str) -> StreamInfo | None:
        """See ``Backend.stream``."""
        rows = await self._connections.rows(self._statements["stream"], {"name": self._key_of(name)})
        return stream_of(rows[0]) if rows else None

    async def streams(self, category: str | None, prefix: str | None, after: str, limit: int) -> list[StreamInfo]:
        """See ``Backend.streams``."""
        begins = [text for text in (category, prefix) if text]  # a category's streams begin with it
        values = {
            "after": after,
            "low": max(begins, default=""),
            "high": min(map(beyond, begins), default=beyond("")),
            "category": category,
            "most": limit,
        }
        return [stream_of(row) for row in await self._connections.rows(self._statements["streams"], values)]

    async def categories(self) -> list[tuple[str, int]]:
        """See ``Backend.categories``."""
        return [(name, count) for name, count in await self._connections.rows(self._statements["categories"])]

    async def set_policy(self, stream: str, policy: StreamPolicy) -> None:
        """See ``Backend.set_policy``."""
        values = {
            "name": self._key_of(stream),
            "truncate_before": policy.truncate_before,
            "max_age_us": None if policy.max_age is None else policy.max_age // timedelta(microseconds=1),
            "max_count": policy.max_count,
        }
        if not await self._connections.rows(self._statements["set_policy"], values):
            version, state = await self._connections.call(lambda connection: self._head(connection, stream))
            check_deletion(stream, ANY, version, state, tombstone=False)

    async def delete_stream(self, stream: str, expected: ExpectedVersion, tombstone: bool) -> None:
        """See ``Backend.delete_stream``."""
        attempts = 0

        async def work(connection: Connection) -> bool:
            nonlocal attempts
            attempts += 1
            return await self._hide(connection, stream, expected, tombstone, again=attempts > 1)

        while not await self._connections.call(work):
            attempts = 0  # the name was used for the first time in between: look again

    async def _hide(
        self, connection: Connection, stream: str, expected: ExpectedVersion, tombstone: bool, *, again: bool
    ) -> bool:
        state: StreamState = "tombstoned" if tombstone else "deleted"
        async with connection.transaction():
            version, present = await self._head(connection, stream)
            if again and present == state:
                return True  # done before the connection broke
            check_deletion(stream, expected, version, present, tombstone=tombstone)
            values = {"name": self._key_of(stream), "state": state, "version": version}
            return bool(await fetched(connection, self._statements["hide_stream"], values))

    async def _head(self, connection: Connection, stream: str) -> tuple[int, StreamState]:
        rows = await fetched(connection, self._statements["lock_head"], {"name": self._key_of(stream)})
        return rows[0] if rows else (0, "open")
