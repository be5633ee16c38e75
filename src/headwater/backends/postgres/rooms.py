"""Partitions of the log, made ahead of the positions that will need them."""

from __future__ import annotations

import asyncio

from headwater.backends.postgres.connections import Connections
from headwater.errors import HeadwaterError

__all__ = ["Rooms"]


class Rooms:
    """Keeps at least half a partition, and at most two, ahead of the head."""

    def __init__(self, connections: Connections, statement: str, size: int) -> None:
        self._connections = connections
        self._statement = statement
        self._size = size
        self._reached = 0
        self._last = 0  # the last position that there is room for
        self._making: asyncio.Task[None] | None = None

    def reached(self, position: int) -> None:
        """An event was stored at this position. Makes room in the background when it gets narrow."""
        self._reached = max(self._reached, position)
        if self._reached + self._size // 2 > self._last and self._making is None:
            self._making = asyncio.get_running_loop().create_task(self._make_quietly())

    async def make(self, position: int = 0) -> None:
        """Make room for at least a whole partition after what was reached (or after ``position``), and wait for it."""
        self._reached = max(self._reached, position, self._last)
        rows = await self._connections.rows(self._statement, (self._reached + self._size,))
        self._last = rows[0][0]

    async def _make_quietly(self) -> None:
        try:
            rows = await self._connections.rows(self._statement, (self._reached + self._size,))
            self._last = rows[0][0]
        except HeadwaterError:
            pass  # an append that finds no room makes it itself, and has somebody to tell when it can't
        finally:
            self._making = None

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._making is not None:
            await asyncio.wait({self._making})
