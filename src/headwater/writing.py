"""Appending: what a caller hands in, checked and encoded, for whatever writes: a store or a caller's transaction."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import msgspec

from headwater.backend import Appended, Appender, Write, sealer_of
from headwater.codecs import (
    PERSONAL_MARK,
    check_expectation,
    check_query,
    checked_name,
    checked_parts,
    encode_event,
)
from headwater.errors import DuplicateEvent, InvalidEvent, TooLarge
from headwater.events import EventRecord, NewEvent
from headwater.limits import Limits
from headwater.queries import ANY, AppendCondition, ExpectedVersion

__all__ = ["Append", "BoundStore", "Writing", "encoded_write", "sealed"]


class Append(msgspec.Struct, frozen=True):
    """One stream's part of an ``append_all``."""

    stream: str | None
    events: Sequence[NewEvent]
    expected: ExpectedVersion = ANY
    condition: AppendCondition | None = None


class Writing:
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
        write = encoded_write(Append(stream, given, expected, condition), self._limits)
        results = await self._appender.append(await sealed(self._appender, [write]))
        return results[0]

    async def append_all(self, appends: Sequence[Append]) -> list[Appended]:
        """Append to several streams: all or none. Each stream may stand in one ``Append`` only.

        Returns one result per ``Append``, in order. Raises as ``append`` does; one refusal refuses all.
        """
        writes = [encoded_write(each, self._limits) for each in appends]
        if not writes:
            raise InvalidEvent("the list of appends is empty", "Give at least one Append(stream, events).")
        _refuse_repeats([write.stream for write in writes])
        if len(writes) > 1:
            _refuse_oversize([record for write in writes for record in write.records], self._limits)
        return await self._appender.append(await sealed(self._appender, writes))


class BoundStore(Writing):
    """Appends inside the caller's own transaction: they are stored when, and only when, the caller commits."""

    def __init__(self, appender: Appender, limits: Limits) -> None:
        self._appender = appender
        self._limits = limits


def encoded_write(append: Append, limits: Limits) -> Write:
    """One stream's part of an append, as a backend stores it. ``InvalidEvent`` or ``TooLarge`` where it can't be."""
    stream = append.stream
    if stream is not None:
        checked_name("stream name", stream, "stream_name_bytes_max", limits.stream_name_bytes_max)
    records = tuple([encode_event(event, limits) for event in _checked_list(append.events)])
    if len(records) != 1:
        _refuse_oversize(records, limits)
    if stream is None:
        _check_streamless(records, append.expected)
    check_expectation(append.expected)
    if append.condition is not None:
        check_query(append.condition.fail_if_match, limits)
    return Write(stream, records, append.expected, append.condition)


async def sealed(appender: Appender, writes: Sequence[Write]) -> Sequence[Write]:
    """The writes, with what is marked as personal sealed. ``InvalidEvent`` where the store has no vault."""
    marked = [record for write in writes for record in write.records if PERSONAL_MARK in record.metadata]
    if not marked:
        return writes
    sealer = sealer_of(appender)
    if sealer is not None:
        return await sealer.seal(writes)
    for record in marked:
        if any(not part.key and not part.forgotten for part in checked_parts(record.metadata, record.type).values()):
            raise InvalidEvent(
                f"event {record.type!r} holds personal data, and the store was opened without a vault for their keys",
                'Open it with one: connect(url, vault="sqlite:///keys.db").',
            )
    return writes


def _refuse_oversize(records: Sequence[EventRecord], limits: Limits) -> None:
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


def _refuse_repeats(streams: Sequence[str | None]) -> None:
    twice = [name for name in dict.fromkeys(streams) if streams.count(name) > 1] if len(streams) > 1 else []
    if twice:
        raise InvalidEvent(f"stream {twice[0]!r} stands in more than one Append", "Give each stream one Append.")
