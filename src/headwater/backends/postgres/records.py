"""Records beside the log: small values by name, changed by compare-and-swap on the server."""

from __future__ import annotations

from collections.abc import Sequence

from headwater.backend import Record, RecordChange, beyond
from headwater.backends.postgres.connections import Connection, Connections, fetched
from headwater.backends.postgres.rows import numbers_of
from headwater.backends.postgres.statements import Statements
from headwater.backends.postgres.url import Target
from headwater.errors import StaleRecord, StoreUnavailable

__all__ = ["Records"]


class Records:
    """Loads and saves records."""

    def __init__(self, connections: Connections, statements: Statements, target: Target, *, exist: bool) -> None:
        self._connections = connections
        self._statements = statements
        self._target = target
        self._exist = exist  # not in a schema of version 1, but somebody may bring that forward at any time

    async def load(self, prefix: str, after: str, limit: int) -> list[Record]:
        """See ``Backend.load_records``. A schema of version 1 has none."""
        if not await self._there():
            return []
        values = {"after": after, "low": prefix, "high": beyond(prefix), "most": limit}
        return [Record(*row) for row in await self._connections.rows(self._statements["load_records"], values)]

    async def save(self, changes: Sequence[RecordChange]) -> list[int]:
        """See ``Backend.save_records``.

        Where the connection breaks, the call may have been done, and is sent again. It is then refused by its own
        work; where its very values stand there, that is what was wanted, and their revisions are given. Where somebody
        has changed one since, it is stale. ``StoreUnavailable`` after a broken connection leaves open whether the
        changes were made: load the records again.
        """
        if not await self._there():
            raise StoreUnavailable(
                f"{self._target.shown} has schema 1, which has no records (consumers and projections need them)",
                "Open it once without create=no, as the owner of the schema: that brings it up to date.",
                transient=False,
            )
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

    async def scrub(self) -> str:
        """See ``Backend.scrub``."""
        await self._connections.rows(self._statements["scrub_records"])
        return "PostgreSQL's write-ahead log, standby servers and backups hold the key until they are recycled"

    async def _there(self) -> bool:
        if not self._exist:
            ((self._exist,),) = await self._connections.rows(self._statements["records_exist"])
        return self._exist

    async def _send(self, connection: Connection, changes: Sequence[RecordChange]) -> list[int]:
        values = (
            [change.name for change in changes],
            [change.value for change in changes],
            numbers_of([change.expected for change in changes]).decode(),  # a list's type would depend on its numbers
        )
        ((revisions,),) = await fetched(connection, self._statements["save_records"], values)
        if revisions and revisions[0] < 0:
            raise StaleRecord(changes[-revisions[0] - 1].name)
        return list(revisions)

    async def _stored(self, connection: Connection, changes: Sequence[RecordChange]) -> list[int] | None:
        """The revisions of these very values (0 for what is to be gone), where they all stand there."""
        names = [change.name for change in changes]
        rows = await fetched(connection, self._statements["records_named"], (names,))
        found = {name: (value, revision) for name, value, revision in rows}
        present = [found.get(name, (None, 0)) for name in names]
        if [value for value, _ in present] != [change.value for change in changes]:
            return None
        return [revision for _, revision in present]
