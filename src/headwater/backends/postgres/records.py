"""Records beside the log: small values by name, changed by compare-and-swap on the server."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from headwater.backend import Record, RecordChange, beyond
from headwater.backends.postgres.connections import Connection, Connections, fetched
from headwater.backends.postgres.statements import Statements
from headwater.errors import StaleRecord

__all__ = ["Records"]

STALE = "HWR01"
"""The SQLSTATE that ``save_records_v1`` raises."""


class Records:
    """Loads and saves records."""

    def __init__(self, connections: Connections, statements: Statements) -> None:
        self._connections = connections
        self._statements = statements

    async def load(self, prefix: str, after: str, limit: int) -> list[Record]:
        """See ``Backend.load_records``."""
        values = {"after": after, "low": prefix, "high": beyond(prefix), "most": limit}
        return [Record(*row) for row in await self._connections.rows(self._statements["load_records"], values)]

    async def save(self, changes: Sequence[RecordChange]) -> list[int]:
        """See ``Backend.save_records``. Where the connection breaks, the call is sent again; if it was done before,
        our values stand there already, and that is what was wanted."""
        ordered = sorted(changes, key=lambda change: change.name.encode())
        sent = 0

        async def work(connection: Connection) -> list[int]:
            nonlocal sent
            sent += 1
            try:
                return await self._send(connection, ordered)
            except StaleRecord:
                stored = await self._stored(connection, ordered) if sent > 1 else None
                if stored is None:
                    raise
                return stored

        revisions = dict(zip([change.name for change in ordered], await self._connections.call(work), strict=True))
        return [revisions[change.name] for change in changes]

    async def _send(self, connection: Connection, changes: Sequence[RecordChange]) -> list[int]:
        values = (
            [change.name for change in changes],
            [change.value for change in changes],
            [change.expected for change in changes],
        )
        try:
            rows = await fetched(connection, self._statements["save_records"], values)
        except psycopg.Error as error:
            if error.sqlstate != STALE:
                raise
            raise StaleRecord(error.diag.message_detail or "") from error
        return list(rows[0][0])

    async def _stored(self, connection: Connection, changes: Sequence[RecordChange]) -> list[int] | None:
        """The revisions of these very values, where they all stand there."""
        revisions = []
        for change in changes:
            values = {"after": "", "low": change.name, "high": change.name + "\0", "most": 1}
            rows = await fetched(connection, self._statements["load_records"], values)
            if (rows[0][1] if rows else None) != change.value:
                return None
            revisions.append(rows[0][2] if rows else 0)
        return revisions
