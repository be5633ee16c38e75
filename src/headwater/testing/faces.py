"""Both faces of a store, asynchronous and synchronous, behind the asynchronous one: a test is written once."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar, cast

import headwater
from headwater import sync
from headwater.limits import Limits
from headwater.store import EventStore

__all__ = ["Face", "opened"]

Face = Literal["async", "sync"]

T = TypeVar("T")

THREADS_MAX = 64
"""More than any test calls at a time, so that no call waits for a thread that waits for the call."""


@asynccontextmanager
async def opened(
    url: str, face: Face = "async", limits: Limits | None = None, vault: str | None = None
) -> AsyncIterator[EventStore]:
    """The open store at ``url``, reached through this face of it."""
    if face == "async":
        async with headwater.connect(url, limits=limits, vault=vault) as store:
            yield store
        return
    with ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="headwater-testing") as threads:
        loop = asyncio.get_running_loop()
        blocking = await loop.run_in_executor(threads, lambda: sync.connect(url, limits=limits, vault=vault))
        try:
            yield cast(EventStore, _InThreads(blocking, threads))
        finally:
            await loop.run_in_executor(threads, blocking.close)


class _InThreads:
    """A synchronous store (or its snapshots, checkpoints) with each call in a thread, awaited."""

    def __init__(self, face: object, threads: ThreadPoolExecutor) -> None:
        self._face = face
        self._threads = threads

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._face, name)
        if isinstance(value, (sync.Snapshots, sync.Checkpoints)):
            return _InThreads(value, self._threads)
        if name == "bind":
            return lambda connection: _InThreads(value(connection), self._threads)
        if name in ("read", "read_all", "streams", "subjects", "all"):
            return lambda *given, **named: self._each(lambda: value(*given, **named))
        return self._awaitable(value) if callable(value) else value

    def _awaitable(self, method: Callable[..., T]) -> Callable[..., asyncio.Future[T]]:
        def call(*given: Any, **named: Any) -> asyncio.Future[T]:
            loop = asyncio.get_running_loop()
            return loop.run_in_executor(self._threads, lambda: method(*given, **named))

        return call

    async def _each(self, iterate: Callable[[], Iterator[T]]) -> AsyncGenerator[T, None]:
        """The items: some at a time, as one thread call each would be slow; the first alone, so that it comes soon."""
        loop = asyncio.get_running_loop()
        items = await loop.run_in_executor(self._threads, iterate)
        count = 1
        try:
            while some := await loop.run_in_executor(self._threads, _take, items, count):
                for each in some:
                    yield each
                count = min(2 * count, 32)
        finally:
            await loop.run_in_executor(self._threads, items.close)  # type: ignore[attr-defined]  # a generator


def _take(items: Iterator[T], count: int) -> list[T]:
    return list(itertools.islice(items, count))
