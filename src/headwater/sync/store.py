"""The store for code without asyncio."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from headwater import store as asynchronous
from headwater.backend import Appended, Capabilities, Checkpoint, Examined, Forgotten, StreamInfo, Subject
from headwater.events import Event, NewEvent
from headwater.limits import Limits
from headwater.queries import ANY, AppendCondition, ExpectedVersion, Query
from headwater.store import Append
from headwater.subscriptions import (
    BEGINNING,
    Audit,
    Every,
    Handler,
    Mark,
    OnFailure,
    PartitionBy,
    ReactionHandler,
    Retry,
    Sink,
    Start,
)
from headwater.sync.consuming import Consumer, Consumers, ParkedEvents, ScheduledEvents
from headwater.sync.driving import BackgroundLoop, Caller, InThread
from headwater.sync.keeping import Checkpoints, Snapshots

__all__ = ["BoundStore", "EventStore"]


class _Writing:
    """``append`` and ``append_all`` over whatever writes."""

    _caller: Caller
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

    def __init__(self, store: asynchronous.BoundStore, caller: Caller) -> None:
        self._store = store
        self._caller = caller


class EventStore(_Writing):
    """``headwater.EventStore`` without ``await``. Open one with ``headwater.sync.connect(url)``.

    Safe to use from many threads at a time. A call inside a running event loop raises ``NotSupported``.
    """

    _store: asynchronous.EventStore

    def __init__(self, store: asynchronous.EventStore) -> None:
        self._store = store
        self._caller = Caller(InThread() if store._backend.stepped else BackgroundLoop())
        self.snapshots = Snapshots(store.snapshots, self._caller)
        self.checkpoints = Checkpoints(store.checkpoints, self._caller)
        self.consumers = Consumers(store.consumers, self._caller)
        self.scheduled = ScheduledEvents(store.scheduled, self._caller)

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
        return BoundStore(bound, Caller(InThread()) if blocking else self._caller)

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

    def subscribe(
        self, *, after: int | Checkpoint = 0, query: Query | None = None, marks: bool = False
    ) -> Iterator[Event | Mark]:
        """The events of the log that match ``query``: those there are, then those that come.

        Waits for events as long as none is there; Ctrl-C ends it. As ``headwater.EventStore.subscribe``.
        """
        return self._caller.each(self._store._subscription(after, query, marks))

    def consumer(
        self,
        name: str,
        handler: Handler | Sink,
        *,
        query: Query | None = None,
        batch: int | None = None,
        start: Start | int | Checkpoint = BEGINNING,
        checkpoint: Every | None = None,
        partitions: int = 1,
        partition_by: PartitionBy = "stream",
        retry: Retry | None = None,
        on_failure: OnFailure = "park",
        lease: float = 10.0,
    ) -> Consumer:
        """A durable consumer: every event to ``handler`` at least once, in order, from where it was left.

        Arguments as ``headwater.EventStore.consumer``. Nothing runs yet: ``consumer.run()``, or ``with consumer:``.
        """
        made = self._store.consumer(
            name,
            handler,
            query=query,
            batch=batch,
            start=start,
            checkpoint=checkpoint,
            partitions=partitions,
            partition_by=partition_by,
            retry=retry,
            on_failure=on_failure,
            lease=lease,
        )
        return Consumer(made, self._caller)

    def reactor(
        self,
        name: str,
        handler: ReactionHandler,
        *,
        query: Query | None = None,
        start: Start | int | Checkpoint = BEGINNING,
        checkpoint: Every | None = None,
        partitions: int = 1,
        partition_by: PartitionBy = "stream",
        retry: Retry | None = None,
        on_failure: OnFailure = "park",
        lease: float = 10.0,
        rerun: bool = False,
    ) -> Consumer:
        """A durable consumer for what follows from events. ``def handler(event, reaction)`` gets a ``sync.Reaction``.

        Promises and arguments as ``headwater.EventStore.reactor``.
        """
        made = self._store.reactor(
            name,
            handler,
            query=query,
            start=start,
            checkpoint=checkpoint,
            partitions=partitions,
            partition_by=partition_by,
            retry=retry,
            on_failure=on_failure,
            lease=lease,
            rerun=rerun,
        )
        return Consumer(made, self._caller)

    def parked(self, consumer: str) -> ParkedEvents:
        """The events that a consumer could not handle."""
        return ParkedEvents(self._store.parked(consumer), self._caller)

    def audit(self, consumer: str, *, partition_by: PartitionBy | None = None) -> Audit:
        """Compare what was delivered to a consumer with the log: missed, doubled, reversed. Reads the log again."""
        return self._caller.run(self._store.audit(consumer, partition_by=partition_by))

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

    def forget(self, subject: str) -> Forgotten | None:
        """Destroy the key of a person, for good. As ``headwater.EventStore.forget``."""
        return self._caller.run(self._store.forget(subject))

    def subject(self, subject: str) -> Subject | None:
        """What the vault knows of a person; None where it never had a key."""
        return self._caller.run(self._store.subject(subject))

    def subjects(self) -> Iterator[Subject]:
        """Everybody whom personal data are or were about, in order of the subjects' ids."""
        return self._caller.each(self._store._sealer().subjects())

    def examine(self) -> list[Examined]:
        """Look at the technology below: versions, settings, clocks, room. As ``headwater.EventStore.examine``."""
        return self._caller.run(self._store.examine())

    def close(self) -> None:
        """Finish what is under way and let go of everything. A second call does nothing."""
        self._caller.run(self._store.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
