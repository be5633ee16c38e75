"""A backend that really needs an event loop, with the semantics of the memory backend: for the synchronous face."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from headwater.backend import Appended, Page, Write
from headwater.backends.memory import MemoryBackend
from headwater.limits import Limits
from headwater.queries import Query

opened: list[LoopingBackend] = []


async def open(url: str, limits: Limits) -> LoopingBackend:
    await asyncio.sleep(0)
    opened.append(LoopingBackend())
    return opened[-1]


class LoopingBackend(MemoryBackend):
    stepped = False

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

    async def close(self) -> None:
        await super().close()
        self.closed = True
