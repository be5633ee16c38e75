"""The same store for code without asyncio: the same names and arguments, no ``await``, plain iterators.

>>> from headwater import sync
>>> with sync.connect("sqlite:///loans.db") as store:
...     store.append("loan-173688", [NewEvent("LoanRequested", {"amount": 20000})])

A thin face over ``headwater.EventStore``, with two drivers. Backends that never need an event loop (memory, SQLite)
are stepped in the caller's own thread. The others run on one background event loop per process, started on first
use, so each process that was forked has its own. Iterators cross over by page, never by event.
"""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from headwater import store as asynchronous
from headwater.backend import Appended, Capabilities, Checkpoint, Snapshot, StreamInfo
from headwater.connect import open_store
from headwater.errors import NotSupported, StoreUnavailable
from headwater.events import Event, NewEvent
from headwater.limits import Limits
from headwater.queries import ANY, AppendCondition, ExpectedVersion, Query
from headwater.store import Append
from headwater.waiting import running_loop, step

__all__ = ["BoundStore", "Checkpoints", "EventStore", "Snapshots", "connect"]

T = TypeVar("T")

_loops: dict[int, asyncio.AbstractEventLoop] = {}  # by process id: a fork copies the loop, but not its thread


def connect(url: str, *, limits: Limits | None = None) -> EventStore:
    """Open the store at ``url``; made where it does not exist yet. URLs and errors as in ``headwater.connect``.

    Use ``with connect(url) as store:``, or ``store = connect(url)`` and ``store.close()``.
    """
    _refuse_running_loop()
    return EventStore(_BackgroundLoop().run(open_store(url, limits)))


class _Driver(Protocol):
    """Runs the coroutines of one store for callers that have no event loop."""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it to its end and return its result."""
        ...

    def abandon(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a clean-up, which the garbage collector may have called for in any thread."""
        ...


class _InThread:
    """Steps coroutines that wait only through ``headwater.waiting``, in the caller's thread."""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return step(coroutine)

    def abandon(self, coroutine: Coroutine[Any, Any, None]) -> None:
        step(coroutine)


class _BackgroundLoop:
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


def _refuse_running_loop() -> None:
    if running_loop() is not None:
        raise NotSupported(
            "headwater.sync",
            "calls inside a running event loop, which they would block",
            "Await the async store here (headwater.connect), or call this from a thread (asyncio.to_thread).",
        )


class _Caller:
    """Where all calls go through: refuses those that would block a loop or use another process's store."""

    def __init__(self, driver: _Driver) -> None:
        self._driver = driver
        self._process = os.getpid()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            self._check()
        except BaseException:
            coroutine.close()
            raise
        return self._driver.run(coroutine)

    def each(self, pages: AsyncGenerator[Sequence[T], None]) -> Iterator[T]:
        """The items of the pages, one page fetched at a time. Closing it closes ``pages``."""
        try:
            while (page := self.run(_next_page(pages))) is not None:
                yield from page
        finally:
            if os.getpid() == self._process:
                self._driver.abandon(pages.aclose())

    def _check(self) -> None:
        _refuse_running_loop()
        if os.getpid() != self._process:
            raise StoreUnavailable(
                f"the store was opened by process {self._process}, before this process was forked from it",
                "Open the store again in each process.",
                transient=False,
            )


async def _next_page(pages: AsyncGenerator[T, None]) -> T | None:
    """The next page, or None after the last."""
    return await anext(pages, None)


class _Writing:
    """``append`` and ``append_all`` over whatever writes."""

    _caller: _Caller
    _store: asynchronous.EventStore | asynchronous.BoundStore

    def append(
        self,
        stream: str | None,
        events: Sequence[NewEvent] | NewEvent,
        *,
        expected: ExpectedVersion = ANY,
        condition: AppendCondition | None = None,
    ) -> Appended:
        """Append events to a stream: all or none, durable when this returns. As ``headwater.EventStore.append``."""
        return self._caller.run(self._store.append(stream, events, expected=expected, condition=condition))

    def append_all(self, appends: Sequence[Append]) -> list[Appended]:
        """Append to several streams: all or none. As ``headwater.EventStore.append_all``."""
        return self._caller.run(self._store.append_all(appends))


class BoundStore(_Writing):
    """Appends inside the caller's own transaction: they are stored when, and only when, the caller commits."""

    def __init__(self, store: asynchronous.BoundStore, caller: _Caller) -> None:
        self._store = store
        self._caller = caller


class EventStore(_Writing):
    """``headwater.EventStore`` without ``await``. Open one with ``headwater.sync.connect(url)``.

    Safe to use from many threads at a time. A call inside a running event loop raises ``NotSupported``.
    """

    _store: asynchronous.EventStore

    def __init__(self, store: asynchronous.EventStore) -> None:
        self._store = store
        self._caller = _Caller(_InThread() if store._backend.stepped else _BackgroundLoop())
        self.snapshots = Snapshots(store.snapshots, self._caller)
        self.checkpoints = Checkpoints(store.checkpoints, self._caller)

    @property
    def identity(self) -> str:
        """A UUID made with the store; its checkpoints carry it."""
        return self._store.identity

    @property
    def capabilities(self) -> Capabilities:
        """What this store promises and can do."""
        return self._store.capabilities

    @property
    def limits(self) -> Limits:
        """The bounds on what one call may carry."""
        return self._store.limits

    def bind(self, connection: Any) -> BoundStore:
        """A store that appends inside the open transaction of ``connection``, the driver's own connection.

        ``NotSupported`` where ``capabilities.caller_transaction`` is False.
        """
        bound = self._store.bind(connection)
        blocking = getattr(bound._appender, "stepped", self._store._backend.stepped)
        return BoundStore(bound, _Caller(_InThread()) if blocking else self._caller)

    def read(
        self,
        stream: str,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int | None = None,
        backwards: bool = False,
    ) -> Iterator[Event]:
        """The events of a stream with ``after < version < before``, in order. As ``headwater.EventStore.read``."""
        return self._caller.each(self._store._reading.stream_pages(stream, after, before, limit, backwards))

    def read_all(
        self,
        *,
        after: int | Checkpoint = 0,
        before: int | None = None,
        query: Query | None = None,
        limit: int | None = None,
        backwards: bool = False,
    ) -> Iterator[Event]:
        """The events of the whole log that match ``query``, in order. As ``headwater.EventStore.read_all``."""
        return self._caller.each(self._store._reading.log_pages(after, before, query, limit, backwards))

    def head(self) -> int:
        """The position up to which the log is settled: nothing will ever appear at or below it. 0 when empty."""
        return self._caller.run(self._store.head())

    def wait(self, after: int, *, timeout: float = 30.0) -> bool:
        """Wait until the log may go on after this position, at most ``timeout`` seconds. False on time-out."""
        return self._caller.run(self._store.wait(after, timeout=timeout))

    def event(self, id: uuid.UUID | str) -> Event | None:
        """The event with this id, or None."""
        return self._caller.run(self._store.event(id))

    def stream(self, name: str) -> StreamInfo | None:
        """What is known of a stream; None where it never had an event."""
        return self._caller.run(self._store.stream(name))

    def streams(
        self, *, category: str | None = None, prefix: str | None = None, after: str = ""
    ) -> Iterator[StreamInfo]:
        """The streams in order of name, from the first after ``after``; only a category or a prefix where given."""
        return self._caller.each(self._store._stream_infos(category, prefix, after))

    def categories(self) -> dict[str, int]:
        """Each category with its number of streams, by name."""
        return self._caller.run(self._store.categories())

    def set_policy(
        self,
        stream: str,
        *,
        truncate_before: int | None = None,
        max_age: timedelta | None = None,
        max_count: int | None = None,
    ) -> None:
        """Replace what a stream's readers still see. As ``headwater.EventStore.set_policy``."""
        self._caller.run(
            self._store.set_policy(stream, truncate_before=truncate_before, max_age=max_age, max_count=max_count)
        )

    def delete_stream(self, stream: str, *, expected: ExpectedVersion = ANY) -> None:
        """Hide all present events of the stream from its readers. A later append continues the versions."""
        self._caller.run(self._store.delete_stream(stream, expected=expected))

    def tombstone_stream(self, stream: str, *, expected: ExpectedVersion = ANY) -> None:
        """Delete the stream and refuse its name for ever. A name that was never used may be tombstoned too."""
        self._caller.run(self._store.tombstone_stream(stream, expected=expected))

    def close(self) -> None:
        """Finish what is under way and let go of everything. A second call does nothing."""
        self._caller.run(self._store.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Snapshots:
    """Folded states kept beside the log, one per name. Losing them costs time, never facts."""

    def __init__(self, snapshots: asynchronous.Snapshots, caller: _Caller) -> None:
        self._snapshots = snapshots
        self._caller = caller

    def save(self, name: str, version: int, state: Any, *, schema: str = "", content_type: str | None = None) -> None:
        """Keep ``state`` (JSON-able, or bytes) as folded up to ``version``, instead of an earlier one of this name."""
        self._caller.run(self._snapshots.save(name, version, state, schema=schema, content_type=content_type))

    def load(self, name: str, *, schema: str = "") -> Snapshot | None:
        """The latest snapshot of this name, or None where there is none of this ``schema``."""
        return self._caller.run(self._snapshots.load(name, schema=schema))

    def delete(self, name: str) -> None:
        """Forget the snapshot of this name, if there is one."""
        self._caller.run(self._snapshots.delete(name))


class Checkpoints:
    """How far each named consumer has come. A checkpoint carries its store's identity; a foreign one is refused."""

    def __init__(self, checkpoints: asynchronous.Checkpoints, caller: _Caller) -> None:
        self._checkpoints = checkpoints
        self._caller = caller

    def save(self, name: str, checkpoint: Checkpoint | int) -> Checkpoint:
        """Keep how far the consumer ``name`` has come: a position of this store, or its checkpoint."""
        return self._caller.run(self._checkpoints.save(name, checkpoint))

    def load(self, name: str) -> Checkpoint | None:
        """How far the consumer ``name`` has come, or None where it never said. Give it to ``read_all(after=…)``."""
        return self._caller.run(self._checkpoints.load(name))
