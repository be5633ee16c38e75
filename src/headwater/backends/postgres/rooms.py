"""Partitions of the log, made ahead of the positions that will need them."""

from __future__ import annotations

import asyncio

from headwater.backends.postgres.connections import Connections
from headwater.errors import HeadwaterError

__all__ = ["Rooms"]


class Rooms:
    """Keeps at least half a partition ahead of the head."""

    def __init__(self, connections: Connections, statement: str, size: int) -> None:
        self._connections = connections
        self._statement = statement
        self._size = size
        self._last = 0  # the last position that there is room for
        self._making: asyncio.Task[None] | None = None

    def reached(self, position: int) -> None:
        """An event was stored at this position. Makes room in the background when it gets narrow."""
        if position + self._size // 2 > self._last and self._making is None:
            self._making = asyncio.get_running_loop().create_task(self._make_quietly())

    async def make(self, events: int = 0) -> None:
        """Make room for so many events and a partition more, and wait for it."""
        rows = await self._connections.rows(self._statement, (self._size + events,))
        self._last = max(self._last, rows[0][0])

    async def _make_quietly(self) -> None:
        try:
            await self.make()
        except HeadwaterError:
            pass  # an append that finds no room makes it itself, and has somebody to tell when it can't
        finally:
            self._making = None

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._making is not None:
            await asyncio.wait({self._making})
