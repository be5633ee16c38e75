"""A backend that really needs an event loop, with the semantics of the memory backend: for the synchronous face."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import msgspec

from headwater.backend import Appended, Appender, Page, Write
from headwater.backends.memory import MemoryBackend
from headwater.errors import InvalidEvent
from headwater.limits import Limits
from headwater.queries import Query
from headwater.waiting import running_loop

opened: list[LoopingBackend] = []


async def open(url: str, limits: Limits) -> LoopingBackend:
    await asyncio.sleep(0)
    opened.append(LoopingBackend())
    return opened[-1]


class LoopingBackend(MemoryBackend):
    stepped = False
    capabilities = msgspec.structs.replace(MemoryBackend.capabilities, caller_transaction=True)

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.get_running_loop()
        self.pages = 0
        self.closed = False

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        assert asyncio.get_running_loop() is self.loop
        await asyncio.sleep(0)
        return await super().append(writes)

    async def read_all(self, query: Query | None, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        assert asyncio.get_running_loop() is self.loop
        self.pages += 1
        await asyncio.sleep(0)
        return await super().read_all(query, after, before, limit, backwards)

    def bind(self, connection: Any) -> Appender:
        """The connection is a list that notes the appends; a blocking one is stepped, in its caller's thread."""
        if not isinstance(connection, list):
            raise InvalidEvent("the bound connection is no list", "Give one.")
        return Bound(connection)

    async def close(self) -> None:
        await super().close()
        self.closed = True


class Bound:
    stepped = True

    def __init__(self, connection: list[object]) -> None:
        self._connection = connection

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        self._connection.append((threading.current_thread(), running_loop()))
        return [Appended(len(write.records), 0) for write in writes]
