"""New events to stored bytes, with every check that can be made before a backend is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from headwater.codecs.checking import checked_name
from headwater.errors import InvalidEvent, TooLarge
from headwater.events import JSON, EventRecord, NewEvent, is_json, microseconds_of
from headwater.limits import Limits
from headwater.tracing import current_trace

_encode = msgspec.json.Encoder().encode


def encode_json(value: object, what: str) -> bytes:
    """``value`` as UTF-8 JSON (RFC 8259). NaN and infinities, which JSON can't hold, are refused."""
    try:
        encoded = _encode(value)
        if b"null" in encoded and _has_nan(msgspec.to_builtins(value)):
            raise InvalidEvent(f"{what} holds NaN or an infinity", "JSON has no such numbers: use null or a text.")
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        if isinstance(error, InvalidEvent):
            raise
        raise InvalidEvent(
            f"{what} can't be written as JSON: {error}",
            "Use dicts, lists, texts, numbers, booleans, None, dates, msgspec.Struct or dataclasses; "
            "or give bytes with a content_type.",
        ) from None
    return encoded


def _has_nan(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(_has_nan(each) for each in value.values())
    if isinstance(value, (list, tuple)):
        return any(_has_nan(each) for each in value)
    return False


def encode_event(event: NewEvent, limits: Limits) -> EventRecord:
    """The event as a backend stores it. Its metadata get what the present ``trace`` says.

    Raises ``InvalidEvent`` where it can't be stored as given, ``TooLarge`` where it is over a limit.
    """
    if not isinstance(event, NewEvent):
        raise InvalidEvent(f"{event!r} is not an event", "Append headwater.NewEvent(type, data) objects.")
    kind = checked_name("event type", event.type, "type_bytes_max", limits.type_bytes_max)
    data, content_type = _encode_data(event)
    trace = current_trace()
    if len(data) > limits.event_bytes_max:
        raise TooLarge(f"the data of event {kind!r} (in bytes)", len(data), "event_bytes_max", limits.event_bytes_max)
    return EventRecord(
        event.id.bytes,
        kind,
        data,
        _encode_metadata(event, limits, trace) if event.metadata or trace else b"",
        _checked_tags(event.tags, limits) if event.tags else (),
        content_type,
        None if event.occurred_at is None else _checked_moment(event.occurred_at),
    )


def _encode_data(event: NewEvent) -> tuple[bytes, str]:
    data, content_type = event.data, event.content_type
    if not isinstance(data, (bytes, bytearray, memoryview)):
        if content_type is not None and not is_json(content_type):
            raise InvalidEvent(
                f"event {event.type!r} has the content type {content_type!r}, but its data is a {type(data).__name__}",
                "Give the data as bytes, or leave the content type out for JSON.",
            )
        return encode_json(data, f"the data of event {event.type!r}"), content_type or JSON
    if content_type is None:
        raise InvalidEvent(
            f"event {event.type!r} has bytes as data, but no content type",
            'Say what the bytes are, e.g. content_type="application/octet-stream".',
        )
    checked_name("content type", content_type, "256 bytes", 256)
    if is_json(content_type):
        try:
            msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidEvent(
                f"event {event.type!r} says {content_type!r}, but its bytes are not JSON: {error}",
                "Give valid JSON, or the content type that the bytes have.",
            ) from None
    return bytes(data), content_type


def _encode_metadata(event: NewEvent, limits: Limits, trace: Mapping[str, Any]) -> bytes:
    what = f"the metadata of event {event.type!r}"
    given = event.metadata or {}
    if not isinstance(given, Mapping):
        raise InvalidEvent(f"{what} is a {type(given).__name__}", "Give a mapping of texts to values.")
    metadata = encode_json({**trace, **given}, what)
    if len(metadata) > limits.metadata_bytes_max:
        raise TooLarge(f"{what} (in bytes)", len(metadata), "metadata_bytes_max", limits.metadata_bytes_max)
    return metadata


def _checked_tags(tags: tuple[str, ...], limits: Limits) -> tuple[str, ...]:
    for tag in tags:
        checked_name("tag", tag, "tag_bytes_max", limits.tag_bytes_max)
    once = tuple(dict.fromkeys(tags))
    if len(once) > limits.tags_max:
        raise TooLarge("an event's list of tags", len(once), "tags_max", limits.tags_max)
    return once


def _checked_moment(moment: datetime) -> int:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise InvalidEvent(f"occurred_at is {moment!r}", "Give a datetime with a time zone, e.g. datetime.now(UTC).")
    return microseconds_of(moment)
