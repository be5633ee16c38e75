"""What is kept beside the log: snapshots and checkpoints."""

from __future__ import annotations

from headwater.backend import Snapshot
from headwater.backends.postgres.connections import Connections
from headwater.backends.postgres.statements import Statements

__all__ = ["Keeping"]


class Keeping:
    """One row per name in each of the two tables. Saving twice is saving once, so a broken call is repeated."""

    def __init__(self, connections: Connections, statements: Statements) -> None:
        self._connections = connections
        self._statements = statements

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """See ``Backend.save_snapshot``."""
        values = (snapshot.name, snapshot.version, snapshot.raw_state, snapshot.content_type, snapshot.schema)
        await self._connections.rows(self._statements["save_snapshot"], values)

    async def load_snapshot(self, name: str) -> Snapshot | None:
        """See ``Backend.load_snapshot``."""
        rows = await self._connections.rows(self._statements["load_snapshot"], (name,))
        return Snapshot(*rows[0]) if rows else None

    async def load_snapshots(self, after: str, limit: int) -> list[Snapshot]:
        """See ``Backend.load_snapshots``."""
        rows = await self._connections.rows(self._statements["load_snapshots"], (after, limit))
        return [Snapshot(*row) for row in rows]

    async def delete_snapshot(self, name: str) -> None:
        """See ``Backend.delete_snapshot``."""
        await self._connections.rows(self._statements["delete_snapshot"], (name,))

    async def save_checkpoint(self, name: str, position: int) -> None:
        """See ``Backend.save_checkpoint``."""
        await self._connections.rows(self._statements["save_checkpoint"], (name, position))

    async def load_checkpoint(self, name: str) -> int | None:
        """See ``Backend.load_checkpoint``."""
        rows = await self._connections.rows(self._statements["load_checkpoint"], (name,))
        return rows[0][0] if rows else None
