"""Headwater's own form of events in a file: JSON Lines, one stored event a line, that any tool can read.

A line holds ``position, stream, version, id, type, recorded_at`` and, where there are any, ``data`` (``data_base64``
where it is not JSON), ``metadata``, ``tags``, ``content_type`` (where it is not plain JSON) and ``occurred_at``.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from headwater.errors import InvalidEvent
from headwater.events import JSON, Event, NewEvent, datetime_of, is_json
from headwater.lifecycle.files import EventFile, InvalidFile
from headwater.lifecycle.mapping import Incoming
from headwater.lifecycle.tables import lines

__all__ = ["line_of", "stored_events"]


class _Line(msgspec.Struct, omit_defaults=True, kw_only=True):
    position: int
    stream: str | None
    version: int
    id: uuid.UUID
    type: str
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | None = None
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    tags: list[str] = []
    content_type: str | None = None
    occurred_at: datetime | None = None
    recorded_at: datetime


def line_of(event: Event) -> bytes:
    """The event as a line, with its line feed."""
    json = is_json(event.content_type)
    line = _Line(
        position=event.position,
        stream=event.stream,
        version=event.version,
        id=event.id,
        type=event.type,
        data=_on_one_line(event.raw_data) if json else msgspec.UNSET,
        data_base64=None if json else base64.b64encode(event.raw_data).decode(),
        metadata=_on_one_line(event.raw_metadata) if event.raw_metadata else msgspec.UNSET,
        tags=list(event.tags),
        content_type=None if event.content_type == JSON else event.content_type,
        occurred_at=event.occurred_at,
        recorded_at=datetime_of(event.recorded_us),
    )
    return msgspec.json.encode(line) + b"\n"


def _on_one_line(json: bytes) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.format(json, indent=-1) if b"\n" in json or b"\r" in json else json)


def stored_events(file: EventFile) -> Iterator[Incoming]:
    """The events of an exported file. Where one says no time of its own, it keeps when it was first recorded."""
    decode = msgspec.json.Decoder(_Line).decode
    for number, text in lines(file):
        try:
            line = decode(text)
            yield Incoming(line.stream, max(line.version - 1, 0), _event(line), len(text), f"line {number}")
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            problem = error.what if isinstance(error, InvalidEvent) else str(error)
            raise InvalidFile(
                file.name,
                f"line {number}",
                f"it is no event as 'headwater export' writes it ({problem})",
                "Export again; for other JSON Lines, say --format jsonl.",
            ) from None


def _event(line: _Line) -> NewEvent:
    content_type = line.content_type or JSON
    if isinstance(line.data, msgspec.Raw):
        data = bytes(line.data)
    elif line.data_base64 is not None:
        data = base64.b64decode(line.data_base64, validate=True)
    else:
        raise InvalidEvent("it has no data", "Export again.")
    metadata = msgspec.json.decode(line.metadata) if isinstance(line.metadata, msgspec.Raw) else None
    moment = line.occurred_at or line.recorded_at
    return NewEvent(
        line.type,
        data,
        id=line.id,
        metadata=metadata,
        tags=line.tags,
        content_type=content_type,
        occurred_at=moment if moment.tzinfo else moment.replace(tzinfo=UTC),
    )
