"""The one place that knows blocking from suspending.

The embedded backends (memory, SQLite) never need an event loop: they wait only through this module. Where a loop
runs in the calling thread, a wait suspends the task; where none does, it blocks the thread. So the synchronous face
can *step* their coroutines with ``send(None)`` in the caller's own thread, and pays for no loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterable
from concurrent.futures import Executor
from typing import Any, Generic, TypeVar

__all__ = ["Reply", "Signal", "call", "running_loop", "settle", "sleep", "step"]

T = TypeVar("T")


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Reply(Generic[T]):
    """One answer that another thread will give. Make it where it will be awaited, ``await`` it once.

    A class of our own rather than ``concurrent.futures.Future``: a group commit answers many waiters of one loop at
    a time, and ``settle`` wakes that loop once for all of them.
    """

    __slots__ = ("_event", "_future", "_loop", "_outcome")

    def __init__(self) -> None:
        self._outcome: tuple[T | None, BaseException | None] | None = None
        self._loop = running_loop()
        self._future: asyncio.Future[None] | None = None
        self._event: Any = None
        if self._loop is not None:
            self._future = self._loop.create_future()
        else:
            self._event = threading.Lock()  # the cheapest one-shot event: held until the answer is there
            self._event.acquire()

    def answer(self, value: T | None, error: BaseException | None = None) -> None:
        """Put the answer down without waking anybody: ``settle`` does."""
        self._outcome = (value, error)

    def __await__(self) -> Generator[Any, None, T]:
        if self._future is not None:
            yield from self._future.__await__()
        else:
            self._event.acquire()
        assert self._outcome is not None
        value, error = self._outcome
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # no error, so answer() was given a T

    def _wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


def settle(replies: Iterable[Reply[Any]]) -> None:
    """Wake everybody who waits for these replies: blocked threads at once, each event loop with one call."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Reply[Any]]] = {}
    for reply in replies:
        if reply._loop is None:
            reply._event.release()
        else:
            by_loop.setdefault(reply._loop, []).append(reply)
    for loop, waiting in by_loop.items():
        try:
            loop.call_soon_threadsafe(_wake_all, waiting)
        except RuntimeError:  # the loop was closed while its appends were in flight: nobody waits any more
            continue


def _wake_all(replies: list[Reply[Any]]) -> None:
    for reply in replies:
        reply._wake()


async def call(executor: Executor, function: Callable[..., T], *arguments: Any) -> T:
    """Run a blocking function: on the executor where a loop runs in this thread, right here where none does."""
    loop = running_loop()
    if loop is None:
        return function(*arguments)
    return await loop.run_in_executor(executor, function, *arguments)


async def sleep(seconds: float) -> None:
    """Wait so long, without blocking a running loop."""
    if running_loop() is None:
        time.sleep(seconds)
    else:
        await asyncio.sleep(seconds)


class Signal:
    """Tells waiters in this process, in any thread or loop, that something new may be there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: set[Reply[bool]] = set()

    def notify(self) -> None:
        """Wake every present waiter."""
        if not self._waiters:
            return
        with self._lock:
            waiters, self._waiters = self._waiters, set()
        for each in waiters:
            each.answer(True)
        settle(waiters)

    def subscribe(self) -> Reply[bool]:
        """A reply that the next ``notify`` gives. Check what you wait for after this call, then ``wait`` for it."""
        reply: Reply[bool] = Reply()
        with self._lock:
            self._waiters.add(reply)
        return reply

    def cancel(self, reply: Reply[bool]) -> None:
        """Wait no more."""
        with self._lock:
            self._waiters.discard(reply)

    async def wait(self, reply: Reply[bool], seconds: float) -> bool:
        """Wait for the reply, at most so long. True if it came."""
        try:
            if reply._future is None:
                return bool(reply._event.acquire(timeout=max(0.0, seconds)))
            done, _ = await asyncio.wait({reply._future}, timeout=seconds)
            return bool(done)
        finally:
            self.cancel(reply)


def step(coroutine: Coroutine[Any, Any, T]) -> T:
    """Drive a coroutine that never suspends to its end, in this thread, without an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    coroutine.close()
    raise RuntimeError(
        "a coroutine of a stepped backend suspended without an event loop: it must wait through headwater.waiting only"
    )
