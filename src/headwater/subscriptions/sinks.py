"""What a consumer delivers to: a function of the user's, or something that keeps its own place, as projections do."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import time
import weakref
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from headwater.events import Event

__all__ = [
    "SLICE_SECONDS",
    "HandledInTime",
    "HandledSome",
    "Handler",
    "Sink",
    "in_thread",
    "in_turn",
    "is_async",
    "sink_of",
]

SLICE_SECONDS = 0.05
"""How long handling some events should last: progress, pauses and leases are looked at between slices."""

THREADS_MAX = 1_000
"""Handlers that run side by side on one event loop. A thread is started only where no other is idle."""

_threads: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, ThreadPoolExecutor] = weakref.WeakKeyDictionary()

Handler = Callable[[Any], Awaitable[None] | None]
"""Takes an event, or a list of events where ``batch`` was given. A plain function runs in a thread of its own."""


class HandledSome(Exception):
    """The first ``done`` of some events were handled; the next one failed with ``error``."""

    def __init__(self, done: int, error: Exception) -> None:
        self.done = done
        self.error = error
        super().__init__(done, error)


class HandledInTime(Exception):
    """The first ``done`` of some events were handled, at least one; then the time of a slice was over."""

    def __init__(self, done: int) -> None:
        self.done = done
        super().__init__(done)


class Sink(Protocol):
    """Takes the events of each part of a consumer, in order."""

    async def start(self, part: int, position: int) -> int:
        """Where the part goes on: at ``position``, the consumer's checkpoint, or where the sink itself says it is."""
        ...

    async def handle(self, part: int, events: Sequence[Event]) -> None:
        """Handle some events. They may come again, after a crash or from a member that was taken for dead.

        An exception means that none of them was handled, ``HandledSome`` and ``HandledInTime`` that some were.
        ``Fenced``: this part is somebody else's by now.
        """
        ...


class _Each:
    """A coroutine function for each event."""

    def __init__(self, handler: Callable[[Event], Awaitable[None]]) -> None:
        self._handler = handler

    async def start(self, part: int, position: int) -> int:
        return position

    async def handle(self, part: int, events: Sequence[Event]) -> None:
        await in_turn(self._handler, events)


class _EachInThread:
    """A plain function for each event, in a thread, so that it may block."""

    def __init__(self, handler: Callable[[Event], None]) -> None:
        self._handler = handler

    async def start(self, part: int, position: int) -> int:
        return position

    async def handle(self, part: int, events: Sequence[Event]) -> None:
        await in_thread(self._handle, events)

    def _handle(self, events: Sequence[Event]) -> None:
        until = time.monotonic() + SLICE_SECONDS
        for done, event in enumerate(events):
            try:
                self._handler(event)
            except Exception as error:
                raise HandledSome(done, error) from error
            if time.monotonic() > until and done + 1 < len(events):
                raise HandledInTime(done + 1)


class _Batches:
    """A function for lists of events."""

    def __init__(self, handler: Callable[[Sequence[Event]], Any]) -> None:
        self._handler = handler
        self._suspends = is_async(handler)

    async def start(self, part: int, position: int) -> int:
        return position

    async def handle(self, part: int, events: Sequence[Event]) -> None:
        if not self._suspends:
            await in_thread(self._handler, events)
            return
        try:
            await self._handler(events)
        except asyncio.CancelledError as error:
            raise _failure(error) from error


async def in_turn(handle: Callable[[Event], Awaitable[None]], events: Sequence[Event]) -> None:
    """Handle one event after the other, as many as there is time for. Raises ``HandledSome``, ``HandledInTime``."""
    until = time.monotonic() + SLICE_SECONDS
    for done, event in enumerate(events):
        try:
            await handle(event)
        except Exception as error:
            raise HandledSome(done, error) from error
        except asyncio.CancelledError as error:
            raise HandledSome(done, _failure(error)) from error
        if time.monotonic() > until and done + 1 < len(events):
            raise HandledInTime(done + 1)


def _failure(cancelled: asyncio.CancelledError) -> Exception:
    """What it means that a handler ended so: something that it waited for was cancelled, and not the consumer itself,
    whose cancellation goes on its way."""
    task = asyncio.current_task()
    if task is None or task.cancelling():
        raise cancelled
    return RuntimeError("something that the handler waited for was cancelled")


async def in_thread(function: Callable[..., object], *arguments: object) -> None:
    """Call a handler that may block, in a thread.

    Not in one of the loop's own: those are few (six on two cores), and the drivers of databases resolve names in them.
    Handlers that wait for one another, or for the store, would use them up, and wait for ever.
    """
    loop = asyncio.get_running_loop()
    threads = _threads.get(loop)
    if threads is None:
        threads = _threads[loop] = ThreadPoolExecutor(THREADS_MAX, "headwater-handler")
    await loop.run_in_executor(threads, contextvars.copy_context().run, _call, function, *arguments)


def _call(function: Callable[..., object], *arguments: object) -> None:
    try:
        function(*arguments)
    except StopIteration as error:  # no future can carry it: whoever waits for one would wait for ever
        raise RuntimeError("the handler raised StopIteration") from error


def sink_of(handler: Handler | Sink, *, batches: bool) -> Sink:
    """The sink for what a user gave."""
    if hasattr(handler, "handle") and hasattr(handler, "start"):
        return handler
    if batches:
        return _Batches(handler)
    return _Each(handler) if is_async(handler) else _EachInThread(handler)  # type: ignore[arg-type]  # as inspected


def is_async(handler: object) -> bool:
    """Whether a handler is to be awaited: a coroutine function, or an object whose call is one."""
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(type(handler), "__call__", None))  # noqa: B004  # its own, not whether
