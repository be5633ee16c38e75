"""Running the asynchronous store's coroutines for callers that have no event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from headwater.errors import NotSupported, StoreUnavailable
from headwater.waiting import running_loop, step

__all__ = ["BackgroundLoop", "Caller", "Driver", "InThread", "refuse_running_loop"]

T = TypeVar("T")

_loops: dict[int, asyncio.AbstractEventLoop] = {}  # by process id: a fork copies the loop, but not its thread


class Driver(Protocol):
    """Runs the coroutines of one store for callers that have no event loop."""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it to its end and return its result."""
        ...

    def run_in_loop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run one that needs an event loop whatever the backend, and may go on for long. An interrupt cancels it, and
        waits for its clean-up."""
        ...

    def abandon(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a clean-up, which the garbage collector may have called for in any thread."""
        ...


class InThread:
    """Steps coroutines that wait only through ``headwater.waiting``, in the caller's thread."""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return step(coroutine)

    def run_in_loop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(coroutine)

    def abandon(self, coroutine: Coroutine[Any, Any, None]) -> None:
        step(coroutine)


class BackgroundLoop:
    """Runs coroutines on this process's background event loop, while the caller's thread waits."""

    def __init__(self) -> None:
        self._loop = _background_loop()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:  # also an interrupt of the waiting: nobody is there for the result any more
            future.cancel()
            raise

    def run_in_loop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        ended = threading.Event()

        async def run() -> T:
            try:
                return await coroutine
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            ended.wait()
            raise

    def abandon(self, coroutine: Coroutine[Any, Any, None]) -> None:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        if running_loop() is None:  # else this may be the very loop that has to run it
            future.result()


def _background_loop() -> asyncio.AbstractEventLoop:
    loop = _loops.get(os.getpid())
    if loop is None:
        made = asyncio.new_event_loop()
        loop = _loops.setdefault(os.getpid(), made)
        if loop is made:
            threading.Thread(target=loop.run_forever, name="headwater-sync", daemon=True).start()
        else:  # another thread was first
            made.close()
    return loop


def refuse_running_loop() -> None:
    if running_loop() is not None:
        raise NotSupported(
            "headwater.sync",
            "calls inside a running event loop, which they would block",
            "Await the async store here (headwater.connect), or call this from a thread (asyncio.to_thread).",
        )


class Caller:
    """Where all calls go through: refuses those that would block a loop or use another process's store."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._process = os.getpid()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        self._check(coroutine)
        return self._driver.run(coroutine)

    def run_in_loop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """``run`` for what may go on for long, on an event loop."""
        self._check(coroutine)
        return self._driver.run_in_loop(coroutine)

    def each(self, pages: AsyncGenerator[Sequence[T], None]) -> Iterator[T]:
        """The items of the pages, one page fetched at a time. Closing it closes ``pages``."""
        try:
            while (page := self.run(_next_page(pages))) is not None:
                yield from page
        finally:
            if os.getpid() == self._process:
                self._driver.abandon(pages.aclose())

    def _check(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        try:
            refuse_running_loop()
            if os.getpid() != self._process:
                raise StoreUnavailable(
                    f"the store was opened by process {self._process}, before this process was forked from it",
                    "Open the store again in each process.",
                    transient=False,
                )
        except BaseException:
            coroutine.close()
            raise


async def _next_page(pages: AsyncGenerator[T, None]) -> T | None:
    """The next page, or None after the last."""
    return await anext(pages, None)
