"""What a user holds: an event store. It checks, encodes, asks the backend, and hands out events page by page."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import msgspec

from headwater.backend import (
    Appended,
    Appender,
    Backend,
    Capabilities,
    Checkpoint,
    Page,
    Snapshot,
    StreamInfo,
    StreamPolicy,
    Write,
)
from headwater.codecs import checked_name, encode_event, encode_json
from headwater.errors import DuplicateEvent, ForeignCheckpoint, InvalidEvent, InvalidQuery, TooLarge
from headwater.events import JSON, Event, EventRecord, NewEvent
from headwater.limits import Limits
from headwater.queries import ANY, AppendCondition, Expected, ExpectedVersion, Query

__all__ = ["Append", "BoundStore", "Checkpoints", "EventStore", "Snapshots"]


class Append(msgspec.Struct, frozen=True):
    """One stream's part of an ``append_all``."""

    stream: str | None
    events: Sequence[NewEvent]
    expected: ExpectedVersion = ANY
    condition: AppendCondition | None = None


class _Writing:
    """``append`` and ``append_all`` over whatever writes."""

    _limits: Limits
    _appender: Appender

    async def append(
        self,
        stream: str | None,
        events: Sequence[NewEvent] | NewEvent,
        *,
        expected: ExpectedVersion = ANY,
        condition: AppendCondition | None = None,
    ) -> Appended:
        """Append events to a stream: all or none, durable when this returns.

        Arguments:
            stream: its name, ``category-id``. None for events that belong to no stream; they must carry tags.
            events: one or more new events, in order.
            expected: what the stream must be at: ``ANY``, ``NO_STREAM``, ``STREAM_EXISTS`` or an exact version.
            condition: refuse if an event that matches its query was stored after its position.

        Returns the stream's new version and the last event's position. Where these very events are stored
        already, the first result with ``duplicate=True``; nothing is written then, whatever is expected.

        Raises ``WrongExpectedVersion``, ``AppendConditionFailed``, ``DuplicateEvent`` and ``StreamDeleted`` where
        the store refuses; ``InvalidEvent`` and ``TooLarge`` where the events can't be stored as given;
        ``StoreUnavailable`` where nothing was written, and ``OutcomeUnknown`` where that can't be known.
        """
        given = (events,) if isinstance(events, NewEvent) else events
        results = await self._appender.append([self._encoded(Append(stream, given, expected, condition))])
        return results[0]

    async def append_all(self, appends: Sequence[Append]) -> list[Appended]:
        """Append to several streams: all or none. Each stream may stand in one ``Append`` only.

        Returns one result per ``Append``, in order. Raises as ``append`` does; one refusal refuses all.
        """
        writes = [self._encoded(each) for each in appends]
        if not writes:
            raise InvalidEvent("the list of appends is empty", "Give at least one Append(stream, events).")
        _refuse_repeats([write.stream for write in writes])
        if len(writes) > 1:
            self._refuse_oversize([record for write in writes for record in write.records])
        return await self._appender.append(writes)

    def _encoded(self, append: Append) -> Write:
        stream, limits = append.stream, self._limits
        if stream is not None:
            checked_name("stream name", stream, "stream_name_bytes_max", limits.stream_name_bytes_max)
        records = tuple([encode_event(event, limits) for event in _checked_list(append.events)])
        if len(records) != 1:
            self._refuse_oversize(records)
        if stream is None:
            _check_streamless(records, append.expected)
        _check_expectation(append.expected)
        if append.condition is not None:
            _check_query(append.condition.fail_if_match, limits)
        return Write(stream, records, append.expected, append.condition)

    def _refuse_oversize(self, records: Sequence[EventRecord]) -> None:
        limits = self._limits
        if not records:
            raise InvalidEvent("the append has no events", "Give at least one NewEvent.")
        if len(records) > limits.append_events_max:
            raise TooLarge("the append's list of events", len(records), "append_events_max", limits.append_events_max)
        size = sum(len(record.data) + len(record.metadata) for record in records)
        if size > limits.append_bytes_max:
            raise TooLarge("the append (in bytes)", size, "append_bytes_max", limits.append_bytes_max)
        ids = [record.id for record in records]
        if len(set(ids)) < len(ids):
            twice = [uuid.UUID(bytes=each) for each in dict.fromkeys(ids) if ids.count(each) > 1]
            raise DuplicateEvent(twice, "the same event id stands twice in one append")


class BoundStore(_Writing):
    """Appends inside the caller's own transaction: they are stored when, and only when, the caller commits."""

    def __init__(self, appender: Appender, limits: Limits) -> None:
        self._appender = appender
        self._limits = limits


class EventStore(_Writing):
    """An append-only store of events with per-stream and global order. Open one with ``headwater.connect(url)``.

    Safe to use from many tasks at a time. Close it with ``await store.close()`` or by ``async with``.
    """

    def __init__(self, backend: Backend, limits: Limits | None = None) -> None:
        self._backend = backend
        self._appender = backend
        self._limits = limits or Limits()
        self.snapshots = Snapshots(backend, self._limits)
        self.checkpoints = Checkpoints(backend, self._limits)

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
    ) -> AsyncIterator[Event]:
        """The events of a stream with ``after < version < before``, in order (or ``backwards``), at most ``limit``.

        A stream that does not exist, or was deleted, has none. Holds one page of events at a time.
        """
        async with aclosing(self._stream_pages(stream, after, before, limit, backwards)) as pages:
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
    ) -> AsyncIterator[Event]:
        """The events of the whole log with ``after < position < before`` that match ``query``, at most ``limit``.

        In order of position (or ``backwards``), up to what is settled when the reading gets there: an event is
        handed out only once nothing can appear before it any more. ``after`` may be a ``Checkpoint`` of this store
        (else ``ForeignCheckpoint``). Holds one page of events at a time.
        """
        async with aclosing(self._log_pages(after, before, query, limit, backwards)) as pages:
            async for events in pages:
                for event in events:
                    yield event

    def _stream_pages(
        self, stream: str, after: int, before: int | None, limit: int | None, backwards: bool
    ) -> AsyncGenerator[list[Event], None]:
        checked_name("stream name", stream, "stream_name_bytes_max", self._limits.stream_name_bytes_max)

        async def fetch(after: int, before: int | None, most: int) -> Page:
            return await self._backend.read_stream(stream, after, before, most, backwards)

        return self._pages(fetch, after, before, limit, backwards)

    async def _log_pages(
        self,
        after: int | Checkpoint,
        before: int | None,
        query: Query | None,
        limit: int | None,
        backwards: bool,
    ) -> AsyncGenerator[list[Event], None]:
        if query is not None:
            _check_query(query, self._limits)
        start = await self._position_of(after) if isinstance(after, Checkpoint) else after

        async def fetch(after: int, before: int | None, most: int) -> Page:
            return await self._backend.read_all(query, after, before, most, backwards)

        async with aclosing(self._pages(fetch, start, before, limit, backwards)) as pages:
            async for events in pages:
                yield events

    async def _pages(
        self,
        fetch: Callable[[int, int | None, int], Awaitable[Page]],
        after: int,
        before: int | None,
        limit: int | None,
        backwards: bool,
    ) -> AsyncGenerator[list[Event], None]:
        """Pages until the end or the limit. A page shrinks where events are large, so that memory stays bounded."""
        _check_place("after", after)
        _check_place("before", before)
        _check_place("limit", limit)
        limits = self._limits
        left = limit
        most = min(100, limits.page_events_max)  # until the size of these events is known
        while left is None or left > 0:
            page = await fetch(after, before, most if left is None else min(most, left))
            if page.events:
                yield page.events
                left = None if left is None else left - len(page.events)
                most = _next_page_events(page.events, limits)
            if not page.more:
                return
            if backwards:
                before = page.last
            else:
                after = page.last

    async def _position_of(self, checkpoint: Checkpoint) -> int:
        if checkpoint.store != self.identity:
            raise ForeignCheckpoint(checkpoint, self.identity)
        head = await self._backend.head()
        if checkpoint.position > head:
            raise ForeignCheckpoint(checkpoint, self.identity, head)
        return checkpoint.position

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
    ) -> AsyncIterator[StreamInfo]:
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
        _check_expectation(expected)
        await self._backend.delete_stream(stream, expected, tombstone)

    async def close(self) -> None:
        """Finish what is under way and let go of everything. A second call does nothing."""
        await self._backend.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Snapshots:
    """Folded states kept beside the log, one per name. Losing them costs time, never facts."""

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self._backend = backend
        self._limits = limits

    async def save(
        self, name: str, version: int, state: Any, *, schema: str = "", content_type: str | None = None
    ) -> None:
        """Keep ``state`` (JSON-able, or bytes) as folded up to ``version``, instead of an earlier one of this name.

        ``schema`` names the shape of the state: bump it when your folding code changes.
        """
        checked_name("snapshot name", name, "stream_name_bytes_max", self._limits.stream_name_bytes_max)
        _check_place("version", version)
        if isinstance(state, bytes):
            raw, kind = state, content_type or "application/octet-stream"
        else:
            raw, kind = encode_json(state, f"the snapshot {name!r}"), content_type or JSON
        most = self._limits.snapshot_bytes_max
        if len(raw) > most:
            raise TooLarge(f"the snapshot {name!r} (in bytes)", len(raw), "snapshot_bytes_max", most)
        await self._backend.save_snapshot(Snapshot(name, version, raw, kind, schema, 0))

    async def load(self, name: str, *, schema: str = "") -> Snapshot | None:
        """The latest snapshot of this name, or None where there is none of this ``schema``."""
        checked_name("snapshot name", name, "stream_name_bytes_max", self._limits.stream_name_bytes_max)
        snapshot = await self._backend.load_snapshot(name)
        return snapshot if snapshot and snapshot.schema == schema else None

    async def delete(self, name: str) -> None:
        """Forget the snapshot of this name, if there is one."""
        checked_name("snapshot name", name, "stream_name_bytes_max", self._limits.stream_name_bytes_max)
        await self._backend.delete_snapshot(name)


class Checkpoints:
    """How far each named consumer has come. A checkpoint carries its store's identity; a foreign one is refused."""

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self._backend = backend
        self._limits = limits

    async def save(self, name: str, checkpoint: Checkpoint | int) -> Checkpoint:
        """Keep how far the consumer ``name`` has come: a position of this store, or its checkpoint.

        Raises ``ForeignCheckpoint`` for a checkpoint of another store.
        """
        checked_name("checkpoint name", name, "stream_name_bytes_max", self._limits.stream_name_bytes_max)
        if isinstance(checkpoint, int):
            checkpoint = Checkpoint(self._backend.identity, checkpoint)
        _check_place("the checkpoint's position", checkpoint.position)
        if checkpoint.store != self._backend.identity:
            raise ForeignCheckpoint(checkpoint, self._backend.identity)
        await self._backend.save_checkpoint(name, checkpoint.position)
        return checkpoint

    async def load(self, name: str) -> Checkpoint | None:
        """How far the consumer ``name`` has come, or None where it never said. Give it to ``read_all(after=…)``."""
        checked_name("checkpoint name", name, "stream_name_bytes_max", self._limits.stream_name_bytes_max)
        position = await self._backend.load_checkpoint(name)
        return None if position is None else Checkpoint(self._backend.identity, position)


def _checked_list(events: object) -> Sequence[NewEvent]:
    if isinstance(events, NewEvent):
        return (events,)
    if isinstance(events, (str, bytes, dict)) or not isinstance(events, Sequence):
        raise InvalidEvent(f"events is a {type(events).__name__}", "Give a list of NewEvent(type, data).")
    return events


def _check_streamless(records: Sequence[EventRecord], expected: ExpectedVersion) -> None:
    if any(not record.tags for record in records):
        raise InvalidEvent(
            "an event without a stream has no tags either, so nothing could find it",
            'Name a stream, or give tags=["key:value"].',
        )
    if expected is not ANY:
        raise InvalidEvent(
            f"expected is {expected!r}, but the append names no stream",
            "Leave expected out; use condition=AppendCondition(query, after) instead.",
        )


def _check_expectation(expected: object) -> None:
    if isinstance(expected, Expected) or (
        isinstance(expected, int) and not isinstance(expected, bool) and expected >= 0
    ):
        return
    raise InvalidQuery(
        f"expected is {expected!r}",
        "Give ANY, NO_STREAM, STREAM_EXISTS or the version you read (0 = no stream).",
    )


def _refuse_repeats(streams: Sequence[str | None]) -> None:
    twice = [name for name in dict.fromkeys(streams) if streams.count(name) > 1] if len(streams) > 1 else []
    if twice:
        raise InvalidEvent(f"stream {twice[0]!r} stands in more than one Append", "Give each stream one Append.")


def _check_place(name: str, value: object) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise InvalidQuery(f"{name} is {value!r}", "Give a number from 0 up.")


def _check_query(query: Query, limits: Limits) -> None:
    if not isinstance(query, Query):
        raise InvalidQuery(f"the query is {query!r}", "Give a headwater.Query.")
    if len(query.items) > limits.query_items_max:
        raise TooLarge("the query's list of items", len(query.items), "query_items_max", limits.query_items_max)
    values = [each for item in query.items for each in (*item.types, *item.tags, *item.categories, *item.streams)]
    if len(values) > limits.query_values_max:
        raise TooLarge("the query (in values)", len(values), "query_values_max", limits.query_values_max)
    for each in values:
        checked_name("query's value", each, "stream_name_bytes_max", limits.stream_name_bytes_max)


def _next_page_events(events: Sequence[Event], limits: Limits) -> int:
    """How many events the next page may hold, if they are as large as these on average."""
    size = sum(len(event.raw_data) for event in events)
    average = max(1, size // len(events))
    return max(1, min(limits.page_events_max, limits.page_bytes_max // average))
