"""Events: what a writer hands in (``NewEvent``), what a reader gets (``Event``), and their ids.

An event is kept as bytes from the moment it is encoded until somebody asks for its data: a reader that only filters
or counts never pays for decoding.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from headwater.errors import InvalidEvent

__all__ = ["JSON", "Event", "EventRecord", "NewEvent", "category_of", "is_json", "uuid7"]

JSON = "application/json"
"""The content type of data given as an object rather than as bytes."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_last_tick = 0

# One system call for a seed rather than one an id: that was half the cost of making an event. A generator of our own,
# so that a program's random.seed() does not repeat ids, and reseeded in a forked child.
_random = random.Random()
if hasattr(os, "register_at_fork"):  # where there are forks
    os.register_at_fork(after_in_child=_random.seed)


def uuid7() -> uuid.UUID:
    """A new time-ordered id: UUID version 7 (RFC 9562, section 5.7), rising within this process.

    The 12 bits after the millisecond hold its fraction (RFC 9562, section 6.2, method 3), so ids made in one
    process sort in the order they were made; 62 bits are random.
    """
    return uuid.UUID(bytes=_uuid7_bytes())


def _uuid7_bytes() -> bytes:
    global _last_tick
    tick = time.time_ns() * 4096 // 1_000_000  # milliseconds with 12 fractional bits
    if tick <= _last_tick:
        tick = _last_tick + 1
    _last_tick = tick
    milliseconds, fraction = tick >> 12, tick & 0xFFF
    return (milliseconds << 80 | 0x7000 << 64 | fraction << 64 | 0x8 << 60 | _random.getrandbits(62)).to_bytes(16)


def category_of(stream: str) -> str:
    """The category of a stream: the text before its first ``-``, or the whole name (``loan-173688`` → ``loan``)."""
    return stream.partition("-")[0]


def is_json(content_type: str) -> bool:
    """Whether data of this content type is JSON: ``application/json`` or any ``…+json`` (RFC 6839, section 3.1)."""
    kind = content_type.partition(";")[0].strip()
    return kind == JSON or kind.endswith("+json")


class NewEvent:
    """A fact to append: its type, its data, and what else should be known about it.

    Arguments:
        type: the name of the fact, in the past tense (``"LoanRequested"``).
        data: any JSON-able object, a ``msgspec.Struct``, a dataclass, or bytes (which need a ``content_type``).
        id: a UUID (or its text). Made when the event is made (UUIDv7), so appending the same object twice is a
            retry and stores it once.
        metadata: a JSON-able mapping about the event (who, why, trace).
        tags: texts to find the event by, by custom ``key:value`` (``"applicant:112"``). Order does not matter.
        content_type: of ``data`` given as bytes, e.g. ``"application/avro"``. JSON otherwise.
        occurred_at: when it happened in the world, where that differs from when it is recorded. With a time zone.
    """

    __slots__ = ("content_type", "data", "id", "metadata", "occurred_at", "tags", "type")

    def __init__(
        self,
        type: str,
        data: Any,
        *,
        id: uuid.UUID | str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        content_type: str | None = None,
        occurred_at: datetime | None = None,
    ) -> None:
        self.type = type
        self.data = data
        self.id = uuid7() if id is None else id if isinstance(id, uuid.UUID) else _uuid_of(id)
        self.metadata = metadata
        self.tags = _tags_of(tags)
        self.content_type = content_type
        self.occurred_at = occurred_at

    def __repr__(self) -> str:
        return f"NewEvent({self.type!r}, {self.data!r}, id={str(self.id)!r}, tags={list(self.tags)!r})"


def _uuid_of(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except (ValueError, AttributeError, TypeError):
        raise InvalidEvent(
            f"the event id {text!r} is not a UUID",
            "Give a UUID, or leave it out; for a key of your own, use uuid.uuid5(namespace, key).",
        ) from None


def _tags_of(tags: Iterable[str]) -> tuple[str, ...]:
    if isinstance(tags, str):
        raise InvalidEvent(f"tags is the one text {tags!r}", f"Give a list of texts: tags=[{tags!r}].")
    return tuple(tags)


class EventRecord(msgspec.Struct, frozen=True):
    """A ``NewEvent`` checked and encoded: what a backend stores, before it gives the event its place and time."""

    id: bytes
    """The UUID's 16 bytes."""
    type: str
    data: bytes
    metadata: bytes
    """A JSON object, or empty for none."""
    tags: tuple[str, ...]
    """Without repeats, in the order given."""
    content_type: str
    occurred_us: int | None
    """Microseconds since 1970-01-01 UTC."""


class Event(msgspec.Struct, frozen=True):
    """A stored event. ``data`` and ``metadata`` are decoded each time they are asked for; keep what you use again."""

    position: int
    """Place in the whole log: rises strictly, may have holes, starts at 1 or later."""
    stream: str | None
    """Name of its stream; None for an event that belongs to no stream."""
    version: int
    """Place in its stream: 1, 2, 3 … without holes; 0 where there is no stream."""
    raw_id: bytes
    """The id's 16 bytes."""
    type: str
    raw_data: bytes
    raw_metadata: bytes
    tags: tuple[str, ...]
    content_type: str
    recorded_us: int
    """When the store recorded it, by the store's clock: microseconds since 1970-01-01 UTC."""
    occurred_us: int | None
    """When it happened, where the writer said so: microseconds since 1970-01-01 UTC."""

    @property
    def id(self) -> uuid.UUID:
        """The event's id, unique in the store."""
        return uuid.UUID(bytes=self.raw_id)

    @property
    def data(self) -> Any:
        """The event's data: decoded where it is JSON, else the bytes as they were given."""
        return msgspec.json.decode(self.raw_data) if is_json(self.content_type) else self.raw_data

    @property
    def metadata(self) -> dict[str, Any]:
        """The event's metadata; empty where none was given."""
        return msgspec.json.decode(self.raw_metadata, type=dict[str, Any]) if self.raw_metadata else {}

    @property
    def category(self) -> str | None:
        """The category of its stream."""
        return None if self.stream is None else category_of(self.stream)

    @property
    def recorded_at(self) -> datetime:
        """When the store recorded it, by the store's clock, in UTC."""
        return datetime_of(self.recorded_us)

    @property
    def occurred_at(self) -> datetime | None:
        """When it happened in the world, in UTC, where the writer said so."""
        return None if self.occurred_us is None else datetime_of(self.occurred_us)


def microseconds_of(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC of a moment with a time zone."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def datetime_of(microseconds: int) -> datetime:
    """The moment in UTC, so many microseconds after 1970-01-01."""
    return _EPOCH + timedelta(microseconds=microseconds)


def now_us() -> int:
    """This machine's clock: microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000
