"""The readers' side of the ordering gate: up to where the log is settled.

``sql/horizon_1.sql`` says why it is right. A horizon is final, so the highest one seen is kept, and a reader that is
far behind it never asks again.
"""

from __future__ import annotations

from headwater.backends.postgres.connections import Connections

__all__ = ["Gate"]


class Gate:
    """Asks for the horizon, in a statement of its own, before rows are read."""

    def __init__(self, connections: Connections, statement: str) -> None:
        self._connections = connections
        self._statement = statement
        self.known = 0
        """A position up to which the log is settled for certain."""

    async def horizon(self) -> int:
        """The position up to which the log is settled now: at least every append that was answered before the call,
        unless an append under way lies below."""
        rows = await self._connections.rows(self._statement)
        self.known = max(self.known, rows[0][0])
        return self.known
