"""Between our values and PostgreSQL's: which JSON goes into JSONB, parameters for a batch, rows back to events."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

from headwater.backend import StreamInfo, StreamPolicy
from headwater.events import JSON, Event, category_of, is_json
from headwater.queries import Branch, Expected, ExpectedVersion, Query

__all__ = [
    "EventOf",
    "array_of",
    "event_of",
    "expected_number",
    "faithful",
    "numbers_of",
    "seeks_of",
    "stream_of",
    "unless_empty",
]

EventOf = Callable[[Sequence[Any]], Event]
"""From a row of the columns that every reading statement selects."""

_EXPECTED = {Expected.ANY: None, Expected.NO_STREAM: -1, Expected.STREAM_EXISTS: -2}

_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")  # JSONB has no NUL, and no half of a surrogate pair
_NUMBER = re.compile(
    rb"[:,\[\s](?:"
    rb"-0(?![.][0-9]*[1-9])"  # -0.0 would lose its sign
    rb"|-?[0-9.]+[eE])"  # 1e300 would come back as an integer of 301 digits
)
_DIGITS = re.compile(rb"[0-9]{300}")  # numeric has an end


def faithful(content_type: str, data: bytes) -> bool:
    """Whether JSONB gives back the same values. What it might alter or refuse is kept as bytes; in doubt, too.

    (Whitespace, the order of keys, and all but the last of repeated keys are not kept by JSONB: not values of JSON.)
    Four searches, because one expression for all would take six times as long.
    """
    if content_type != JSON and not is_json(content_type):
        return False
    if data[:1] in b"-0123456789":  # nothing but a number
        return data.isdigit() and len(data) < 300
    return not (
        b"\0" in data  # not JSON, and it would end the text in libpq
        or (b"\\u" in data and _ESCAPE.search(data))
        or _NUMBER.search(data)
        or (len(data) >= 300 and _DIGITS.search(data))
    )


def expected_number(expected: ExpectedVersion) -> int | None:
    """As ``fits_v1`` takes it."""
    return _EXPECTED[expected] if isinstance(expected, Expected) else expected


def array_of(texts: Iterable[bytes | None]) -> bytes:
    """PostgreSQL's text form of an array of texts. A third of the cost of the driver's own list adapter."""
    return b"{" + b",".join([b"NULL" if text is None else _quoted(text) for text in texts]) + b"}"


def _quoted(text: bytes) -> bytes:
    if b"\\" in text:
        text = text.replace(b"\\", b"\\\\")
    return b'"' + text.replace(b'"', b'\\"') + b'"'


def numbers_of(numbers: Iterable[int | None]) -> bytes:
    """PostgreSQL's text form of an array of numbers."""
    return ("{" + ",".join(["NULL" if number is None else str(number) for number in numbers]) + "}").encode()


def unless_empty(form: Callable[[Sequence[Any]], bytes], values: Sequence[Any]) -> bytes | None:
    """PostgreSQL's text form of an array; None, which is less to send, where it would hold nothing."""
    return None if values.count(None) == len(values) else form(values)


def event_of(row: Sequence[Any]) -> Event:
    """The event in a row of the columns that every reading statement selects."""
    position, stream, version, id, kind, data, metadata, tags, content_type, recorded_us, occurred_us = row
    return Event(
        position,
        stream,
        version,
        id,
        kind,
        data,
        metadata or b"",
        tuple(tags.split("\n")) if tags else (),
        content_type,
        recorded_us,
        occurred_us,
    )


def stream_of(row: Sequence[Any]) -> StreamInfo:
    """The stream in a row of the columns that every statement about streams selects."""
    name, version, first, created_us, last_us, state, truncate_before, max_age_us, max_count = row
    max_age = None if max_age_us is None else timedelta(microseconds=max_age_us)
    policy = StreamPolicy(truncate_before, max_age, max_count)
    return StreamInfo(name, category_of(name), version, first, created_us, last_us, state, policy)


def seeks_of(query: Query) -> list[dict[str, Any]]:
    """The query as ``matches_v1`` takes it: a tag with types becomes a seek for each of the types."""
    return [seek for branch in query.branches() for seek in _seeks(branch)]


def _seeks(branch: Branch) -> list[dict[str, Any]]:
    leading = {"tag": branch.tag, "stream": branch.stream, "type": branch.type, "category": branch.category}
    filters = {"tags": branch.with_tags, "streams": branch.with_streams, "categories": branch.with_categories}
    seek: dict[str, Any] = {name: value for name, value in leading.items() if value is not None}
    seek |= {name: values for name, values in filters.items() if values}
    if branch.tag is not None and branch.with_types:
        return [{**seek, "type": kind} for kind in branch.with_types]
    return [{**seek, "types": branch.with_types} if branch.with_types else seek]
