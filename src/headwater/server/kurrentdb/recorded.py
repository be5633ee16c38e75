"""Events between the store and the protocol.

A revision is a version less one, a position is a position. Data and metadata that are JSON go into the store as JSON,
so that Headwater's own readers see them; what the store could not keep so (bytes that only claim to be JSON, metadata
that are no object) is wrapped, under ``$kurrentdb`` in the event's metadata, and read back as it was sent.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from headwater.events import JSON, Event, NewEvent, is_json
from headwater.server.kurrentdb.refusals import invalid

__all__ = [
    "BYTES",
    "CORRELATION",
    "LINK",
    "STREAMLESS",
    "fill_link",
    "fill_recorded",
    "fill_uuid",
    "id_of",
    "link_id",
    "name_of",
    "new_event",
    "original_id",
    "shown_stream",
    "uuid_of",
]

BYTES = "application/octet-stream"

LINK = "$>"
"""The type of an event that stands for another one: its data is ``revision@stream``."""

STREAMLESS = "$streamless"
"""The stream under which events of no stream are shown; their revision is their position."""

CORRELATION = "$correlation:"
"""Before a correlation id, in the tag by which ``$bc-…`` finds an event."""

_WRAP = "$kurrentdb"
_WRAP_MARK = b'"$kurrentdb"'
_LINKS = uuid.UUID("a5a1b2a8-0a0f-5f5c-9a9e-4d8a0f6b1c2d")
_TAG_MOST = 200


def uuid_of(given: Any) -> uuid.UUID:
    """The id in a protocol's UUID, which is a text or two halves. ``Refused`` where it is neither."""
    kind = given.WhichOneof("value")
    if kind == "structured":
        high, low = given.structured.most_significant_bits, given.structured.least_significant_bits
        return uuid.UUID(int=(high & 0xFFFFFFFFFFFFFFFF) << 64 | (low & 0xFFFFFFFFFFFFFFFF))
    try:
        return uuid.UUID(given.string)
    except ValueError:
        raise invalid(f"the id {given.string[:60]!r} is not a UUID") from None


def fill_uuid(target: Any, id: uuid.UUID, *, structured: bool) -> None:
    """Write an id in the form that the client has asked for."""
    if not structured:
        target.string = str(id)
        return
    high, low = id.int >> 64, id.int & 0xFFFFFFFFFFFFFFFF
    target.structured.most_significant_bits = high - (1 << 64) if high >> 63 else high
    target.structured.least_significant_bits = low - (1 << 64) if low >> 63 else low


def new_event(
    id: uuid.UUID, headers: Mapping[str, str], data: bytes, metadata: bytes, *, stored_id: uuid.UUID | None = None
) -> NewEvent:
    """What a client proposes, as the store takes it. ``stored_id`` where the store must know it by another id."""
    kind, content_type = headers.get("type"), headers.get("content-type")
    if not kind or not content_type:
        raise invalid("a proposed event needs the metadata 'type' and 'content-type'")
    wrap: dict[str, Any] = {}
    if is_json(content_type) and not _is_document(data):
        wrap["content_type"], content_type = content_type, BYTES
    about = _object_of(metadata) if metadata else None
    if metadata and (not about or msgspec.json.encode(about) != metadata):
        wrap["metadata"] = base64.b64encode(metadata).decode()  # spaces between values, say: sent back as they came
    if stored_id is not None:
        wrap["id"] = str(id)
    about = about or {}
    tags = _tags_of(about)
    if wrap:
        about[_WRAP] = wrap
    return NewEvent(kind, data, id=stored_id or id, metadata=about, tags=tags, content_type=content_type)


def _is_document(data: bytes) -> bool:
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return _is_utf8(data)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _object_of(metadata: bytes) -> dict[str, Any] | None:
    """Metadata that the store keeps as they are. None for what is no JSON object, or looks like marks of our own."""
    if _WRAP_MARK in metadata:
        return None
    try:
        return msgspec.json.decode(metadata, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _tags_of(about: Mapping[str, Any]) -> tuple[str, ...]:
    correlation = about.get("$correlationId")
    if isinstance(correlation, str) and 0 < len(correlation.encode()) <= _TAG_MOST and correlation.isprintable():
        return (CORRELATION + correlation,)
    return ()


def _unwrapped(event: Event) -> tuple[dict[str, Any], bytes]:
    """What is wrapped in an event's metadata, and the metadata without it."""
    if _WRAP_MARK not in event.raw_metadata:
        return {}, event.raw_metadata
    about = event.metadata
    wrap = about.pop(_WRAP, None)
    if not isinstance(wrap, dict):
        return {}, event.raw_metadata
    if "metadata" in wrap:
        return wrap, base64.b64decode(wrap["metadata"])
    return wrap, msgspec.json.encode(about) if about else b""


def original_id(event: Event) -> uuid.UUID:
    """The id that the client gave the event."""
    if _WRAP_MARK not in event.raw_metadata:
        return event.id
    return uuid.UUID(_unwrapped(event)[0].get("id") or str(event.id))


def id_of(stream: str, id: uuid.UUID) -> uuid.UUID:
    """The id under which an event is stored whose own id is taken by an event of another stream."""
    return uuid.uuid5(_LINKS, f"{stream}\n{id}")


def link_id(stream: str, event: Event) -> uuid.UUID:
    """The id of the link to an event in a stream that the server makes up."""
    return uuid.uuid5(_LINKS, f"link\n{stream}\n{event.id}")


def shown_stream(event: Event) -> tuple[str, int]:
    """The stream and revision under which the protocol shows an event."""
    if event.stream is None:
        return STREAMLESS, event.position
    return event.stream, event.version - 1


def fill_recorded(target: Any, event: Event, *, structured: bool, data: bytes | None = None) -> None:
    """Write an event into a ``RecordedEvent``; ``data`` where something else than the stored is shown."""
    wrap, metadata = _unwrapped(event)
    stream, revision = shown_stream(event)
    fill_uuid(target.id, uuid.UUID(wrap["id"]) if "id" in wrap else event.id, structured=structured)
    target.stream_identifier.stream_name = stream.encode()
    target.stream_revision = revision
    target.prepare_position = target.commit_position = event.position
    headers = target.metadata
    headers["type"] = event.type
    headers["content-type"] = wrap.get("content_type") or (JSON if is_json(event.content_type) else BYTES)
    headers["created"] = str(event.recorded_us * 10)
    target.data = event.raw_data if data is None else data
    if metadata:
        target.custom_metadata = metadata


def fill_link(target: Any, stream: str, event: Event, *, structured: bool) -> None:
    """Write the link to an event in a stream that the server makes up. Its revision is the event's position."""
    origin, revision = shown_stream(event)
    fill_uuid(target.id, link_id(stream, event), structured=structured)
    target.stream_identifier.stream_name = stream.encode()
    target.stream_revision = event.position
    target.prepare_position = target.commit_position = event.position
    headers = target.metadata
    headers["type"] = LINK
    headers["content-type"] = BYTES
    headers["created"] = str(event.recorded_us * 10)
    target.data = f"{revision}@{origin}".encode()


def name_of(identifier: Any) -> str:
    """The name in a stream identifier, which is bytes."""
    try:
        name: str = identifier.stream_name.decode()
    except UnicodeDecodeError:
        raise invalid("the stream's name is not UTF-8") from None
    if not name:
        raise invalid("the stream's name is empty")
    return name
