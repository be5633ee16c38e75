"""What a user holds: an event store. It checks, encodes, asks the backend, and hands out events page by page."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from headwater.backend import (
    Backend,
    Capabilities,
    Checkpoint,
    Examined,
    Forgotten,
    Sealer,
    StreamInfo,
    StreamPolicy,
    Subject,
    sealer_of,
)
from headwater.codecs import check_expectation, check_place, check_query, checked_name
from headwater.errors import InvalidQuery, NotSupported
from headwater.events import Event, NewEvent
from headwater.keeping import Checkpoints, Snapshots
from headwater.limits import Limits
from headwater.queries import ANY, ExpectedVersion, Query
from headwater.reading import Reading
from headwater.subscriptions import (
    BEGINNING,
    Audit,
    Consumer,
    Consumers,
    Every,
    Feed,
    Handler,
    Mark,
    OnFailure,
    ParkedEvents,
    PartitionBy,
    Reacting,
    ReactionHandler,
    Retry,
    ScheduledEvents,
    Sink,
    Start,
    audited,
    subscription_pages,
)
from headwater.writing import Append, BoundStore, Writing

__all__ = ["Append", "BoundStore", "Checkpoints", "EventStore", "Snapshots"]


class EventStore(Writing):
    """An append-only store of events with per-stream and global order. Open one with ``headwater.connect(url)``.

    Safe to use from many tasks at a time. Close it with ``await store.close()`` or by ``async with``.
    """

    def __init__(self, backend: Backend, limits: Limits | None = None) -> None:
        self._backend = backend
        self._appender = backend
        self._limits = limits or Limits()
        self._reading = Reading(backend, self._limits)
        self.snapshots = Snapshots(backend, self._limits)
        self.checkpoints = Checkpoints(backend, self._limits)
        self.consumers = Consumers(backend)
        self.scheduled = ScheduledEvents(backend, self._limits)

    @property
    def identity(self) -> str:
        """A UUID made with the store; its checkpoints carry it."""
        return self._backend.identity

    @property
    def capabilities(self) -> Capabilities:
        """What this store promises and can do."""
        return self._backend.capabilities

    @property
    def limits(self) -> Limits:
        """The bounds on what one call may carry."""
        return self._limits

    def bind(self, connection: Any) -> BoundStore:
        """A store that appends inside the open transaction of ``connection``, the driver's own connection.

        ``NotSupported`` where ``capabilities.caller_transaction`` is False.
        """
        return BoundStore(self._backend.bind(connection), self._limits)

    async def read(
        self,
        stream: str,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int | None = None,
        backwards: bool = False,
    ) -> AsyncGenerator[Event, None]:
        """The events of a stream with ``after < version < before``, in order (or ``backwards``), at most ``limit``.

        A stream that does not exist, or was deleted, has none. Holds one page of events at a time.
        """
        async with aclosing(self._reading.stream_pages(stream, after, before, limit, backwards)) as pages:
            async for events in pages:
                for event in events:
                    yield event

    async def read_all(
        self,
        *,
        after: int | Checkpoint = 0,
        before: int | None = None,
        query: Query | None = None,
        limit: int | None = None,
        backwards: bool = False,
    ) -> AsyncGenerator[Event, None]:
        """The events of the whole log with ``after < position < before`` that match ``query``, at most ``limit``.

        In order of position (or ``backwards``), up to what is settled when the reading gets there: an event is
        handed out only once nothing can appear before it any more. ``after`` may be a ``Checkpoint`` of this store
        (else ``ForeignCheckpoint``). Holds one page of events at a time.
        """
        async with aclosing(self._reading.log_pages(after, before, query, limit, backwards)) as pages:
            async for events in pages:
                for event in events:
                    yield event

    async def subscribe(
        self, *, after: int | Checkpoint = 0, query: Query | None = None, marks: bool = False
    ) -> AsyncGenerator[Event | Mark, None]:
        """The events of the log with ``position > after`` that match ``query``: those there are, then those that come.

        Each event once, in order of position, as soon as nothing can appear before it any more. It never ends by
        itself; cancel the task or close the iterator. For new events only: ``after=await store.head()``. With
        ``marks``, ``CaughtUp`` and ``FellBehind`` come between the events. A slow reader holds two pages of events at
        most, and slows nobody.
        """
        async with aclosing(self._subscription(after, query, marks)) as pages:
            async for page in pages:
                for each in page:
                    yield each

    async def _subscription(
        self, after: int | Checkpoint, query: Query | None, marks: bool
    ) -> AsyncGenerator[list[Event | Mark], None]:
        if query is not None:
            check_query(query, self._limits)
        position = await self._reading.position_of(after)
        check_place("after", position)
        async with aclosing(
            subscription_pages(Feed(self._backend, self._limits, query, position), marks=marks)
        ) as pages:
            async for page in pages:
                yield page

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

        Arguments:
            name: under which its place is kept. Run the same name in several processes, and they share the parts.
            handler: ``async def handler(event)``, awaited; or a plain function, run in a thread.
            query: only events that match.
            batch: hand over lists of up to so many events instead of single ones.
            start: where a new consumer starts: ``BEGINNING``, ``NOW``, a position, or a checkpoint of this store.
            checkpoint: how often its place is kept; every 1,000 events and every second where left out.
            partitions: into how many parts the events are dealt, so how many members can work at a time.
            partition_by: ``"stream"``, ``"category"``, ``"tag:applicant"``, or a function from an event to a text:
                events of one key keep their order.
            retry: how an event that failed is tried again.
            on_failure: after the last attempt, ``"park"`` the event and go on; ``"park_key"``: and hold back all
                later events of its key; ``"stop"``: end ``run`` with the error.
            lease: seconds after which a member that gives no sign of life is replaced.

        Nothing runs yet: ``await consumer.run()``, or ``async with consumer:``.
        """
        return Consumer(
            self._backend,
            self._limits,
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
        """A durable consumer for what follows from events: messages to other services, process managers.

        ``async def handler(event, reaction)`` (or a plain function, run in a thread) calls the world with
        ``reaction.key`` as its idempotency key, and ``reaction.append`` or ``reaction.schedule`` for events that
        follow: those are stored once, however often the event comes.

        An event whose handler has come to its end is noted at once, with one durable write, in an inbox by event id:
        it never runs again, whatever happens to this process. One window remains: where the process dies inside the
        handler (or before that write is acknowledged), the event comes again.

        After a rewind, events that were handled, parked or passed over before do not run again, unless ``rerun``.
        Other arguments as ``consumer``; a checkpoint is kept every 100 events and every second where left out.
        """
        return Consumer(
            self._backend,
            self._limits,
            name,
            Reacting(self._backend, self._limits, self.scheduled, name, handler),
            query=query,
            start=start,
            checkpoint=checkpoint or Every(events=100),
            partitions=partitions,
            partition_by=partition_by,
            retry=retry,
            on_failure=on_failure,
            lease=lease,
            kind="reactor",
            rerun=rerun,
        )

    def parked(self, consumer: str) -> ParkedEvents:
        """The events that a consumer could not handle."""
        return ParkedEvents(self._backend, consumer)

    async def audit(self, consumer: str, *, partition_by: PartitionBy | None = None) -> Audit:
        """Compare what was delivered to a consumer with the log: missed, doubled, reversed. Reads the log again."""
        return await audited(self._backend, self._limits, consumer, partition_by)

    async def head(self) -> int:
        """The position up to which the log is settled: nothing will ever appear at or below it. 0 when empty."""
        return await self._backend.head()

    async def wait(self, after: int, *, timeout: float = 30.0) -> bool:
        """Wait until the log may go on after this position, at most ``timeout`` seconds. False on time-out."""
        return await self._backend.wait(after, timeout)

    async def event(self, id: uuid.UUID | str) -> Event | None:
        """The event with this id, or None."""
        return await self._backend.event(NewEvent("id", None, id=id).id.bytes)

    async def stream(self, name: str) -> StreamInfo | None:
        """What is known of a stream; None where it never had an event."""
        checked_name("stream name", name, "stream_name_bytes_max", self._limits.stream_name_bytes_max)
        return await self._backend.stream(name)

    async def streams(
        self, *, category: str | None = None, prefix: str | None = None, after: str = ""
    ) -> AsyncGenerator[StreamInfo, None]:
        """The streams in order of name, from the first after ``after``; only a category or a prefix where given."""
        async with aclosing(self._stream_infos(category, prefix, after)) as pages:
            async for infos in pages:
                for info in infos:
                    yield info

    async def _stream_infos(
        self, category: str | None, prefix: str | None, after: str
    ) -> AsyncGenerator[list[StreamInfo], None]:
        most = self._limits.page_events_max
        while infos := await self._backend.streams(category, prefix, after, most):
            yield infos
            if len(infos) < most:
                return
            after = infos[-1].name

    async def categories(self) -> dict[str, int]:
        """Each category with its number of streams, by name."""
        return dict(await self._backend.categories())

    async def set_policy(
        self,
        stream: str,
        *,
        truncate_before: int | None = None,
        max_age: timedelta | None = None,
        max_count: int | None = None,
    ) -> None:
        """Replace what a stream's readers still see; without arguments, they see everything again.

        Arguments:
            truncate_before: versions below it are hidden.
            max_age: events recorded longer ago are hidden.
            max_count: all but the last so many are hidden.

        Nothing is removed, and ``read_all`` still shows every event: the log is the log. Raises
        ``WrongExpectedVersion`` where there is no such stream.
        """
        for name, value, least in (("truncate_before", truncate_before, 0), ("max_count", max_count, 1)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise InvalidQuery(f"{name} is {value!r}", f"Give a number from {least} up, or None.")
        if max_age is not None and (not isinstance(max_age, timedelta) or max_age <= timedelta(0)):
            raise InvalidQuery(f"max_age is {max_age!r}", "Give a positive timedelta, or None.")
        checked_name("stream name", stream, "stream_name_bytes_max", self._limits.stream_name_bytes_max)
        await self._backend.set_policy(stream, StreamPolicy(truncate_before or 0, max_age, max_count))

    async def delete_stream(self, stream: str, *, expected: ExpectedVersion = ANY) -> None:
        """Hide all present events of the stream from its readers. A later append continues the versions.

        ``WrongExpectedVersion`` where it never had an event or is not as expected, ``StreamDeleted`` where it is
        tombstoned.
        """
        await self._delete(stream, expected, tombstone=False)

    async def tombstone_stream(self, stream: str, *, expected: ExpectedVersion = ANY) -> None:
        """Delete the stream and refuse its name for ever. A name that was never used may be tombstoned too."""
        await self._delete(stream, expected, tombstone=True)

    async def _delete(self, stream: str, expected: ExpectedVersion, *, tombstone: bool) -> None:
        checked_name("stream name", stream, "stream_name_bytes_max", self._limits.stream_name_bytes_max)
        check_expectation(expected)
        await self._backend.delete_stream(stream, expected, tombstone)

    async def forget(self, subject: str) -> Forgotten | None:
        """Destroy the key of a person, for good: all personal data sealed under it can't be read any more, anywhere.

        In place of each sealed value readers get its placeholder, so what is folded from it still works. None where
        there never was a key; where it was destroyed before, when that was. Other processes may hold the key for 30 s
        more. Data about this person that are appended later are sealed under a new key.

        Raises ``NotSupported`` where the store was opened without a vault.
        """
        return await self._sealer().forget(subject)

    async def subject(self, subject: str) -> Subject | None:
        """What the vault knows of a person; None where it never had a key."""
        return await self._sealer().subject(subject)

    async def subjects(self) -> AsyncGenerator[Subject, None]:
        """Everybody whom personal data are or were about, in order of the subjects' ids."""
        async with aclosing(self._sealer().subjects()) as pages:
            async for page in pages:
                for subject in page:
                    yield subject

    def _sealer(self) -> Sealer:
        sealer = sealer_of(self._backend)
        if sealer is None:
            raise NotSupported(
                "a store without a vault",
                "forgetting people",
                'Open it with the vault of its keys: connect(url, vault="sqlite:///keys.db").',
            )
        return sealer

    async def examine(self) -> list[Examined]:
        """Look at the technology below: its version and settings, clocks, room, and what holds readers or writers up.

        Reads little and changes nothing. What is stored is checked by ``headwater verify``.
        """
        return await self._backend.examine()

    async def close(self) -> None:
        """Finish what is under way and let go of everything. A second call does nothing."""
        await self._backend.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
