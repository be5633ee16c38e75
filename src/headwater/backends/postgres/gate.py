"""The readers' side of the ordering gate: up to where the log is settled.

``sql/horizon_1.sql`` says why it is right. A horizon is final, so the highest one seen is kept, and a reader that is
far behind it never asks again.
"""

from __future__ import annotations

from typing import Protocol

from headwater.backends.postgres.connections import Connections

__all__ = ["Gate", "Horizon"]


class Horizon(Protocol):
    """Knows up to where the log is settled: nothing will appear at or below that any more."""

    known: int
    """A position up to which the log is settled for certain."""

    async def horizon(self) -> int:
        """The position up to which the log is settled now: at least every append that was answered before the call,
        unless an append under way lies below. Rows must be read after it, in a statement of their own."""
        ...


class Gate:
    """See ``Horizon``: asks the server-side function."""

    def __init__(self, connections: Connections, statement: str) -> None:
        self._connections = connections
        self._statement = statement
        self.known = 0

    async def horizon(self) -> int:
        """See ``Horizon.horizon``."""
        rows = await self._connections.rows(self._statement)
        self.known = max(self.known, rows[0][0])
        return self.known
