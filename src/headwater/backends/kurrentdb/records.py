"""How events, and what is kept beside them, look in KurrentDB.

An event stands in its own stream, with its own type, id and data; what KurrentDB has no place for stands in its
metadata, as one text, because values there must be texts. Streams whose names begin with ``_headwater.`` are ours: one
for each thing beside the log, whose last event counts, and one with an event for each commit, which keeps writers in
turn.
"""

from __future__ import annotations

import hashlib
import uuid

import msgspec
from kurrentdbclient import RecordedEvent
from kurrentdbclient.events import NewRecord, StreamState

from headwater.backends.sqlite.mirror import Beside
from headwater.errors import InvalidEvent
from headwater.events import JSON, Event, category_of, is_json, microseconds_of

__all__ = [
    "COMMITS",
    "RESERVED",
    "STORE",
    "Committed",
    "Identity",
    "beside_of",
    "beside_record",
    "commit_of",
    "commit_record",
    "event_of",
    "event_record",
    "is_own",
    "refuse_reserved",
    "state_of",
]

RESERVED = "_headwater."
COMMITS = f"{RESERVED}commits"
STORE = f"{RESERVED}store"
STREAMLESS = f"{RESERVED}none"

BYTES = "application/octet-stream"
_KEY = "$headwater"


class Identity(msgspec.Struct, frozen=True):
    """What the store is; written once."""

    identity: str
    format: int = 1


class Committed(msgspec.Struct, frozen=True):
    """A commit: the last record of its append."""

    token: str


class _Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of an event KurrentDB has no place for."""

    recorded_us: int
    occurred_us: int | None = None
    content_type: str = ""
    tags: tuple[str, ...] = ()
    metadata: str = ""


class _Row(msgspec.Struct, frozen=True):
    """A thing beside the log."""

    kind: str
    name: str
    row: bytes | None


def refuse_reserved(stream: str | None) -> None:
    """Raise where a stream's name is one of ours, or one that KurrentDB keeps for itself."""
    if stream is not None and (stream.startswith((RESERVED, "$$")) or _made_up(stream)):
        raise InvalidEvent(
            f"the stream name {stream!r} is kept by KurrentDB, or by Headwater in it", "Use another name."
        )


def _made_up(stream: str) -> bool:
    return stream == "$streams" or category_of(stream) in ("$ce", "$et", "$bc", "$category", "$idx")


def event_record(event: Event) -> NewRecord:
    """An event as it is appended."""
    facts = _Facts(
        event.recorded_us,
        event.occurred_us,
        "" if event.content_type == JSON else event.content_type,
        event.tags,
        event.raw_metadata.decode(),
    )
    return NewRecord(
        stream_name=STREAMLESS if event.stream is None else event.stream,
        type=event.type,
        data=event.raw_data,
        id=event.id,
        content_type=JSON if event.content_type == JSON else BYTES,  # type: ignore[arg-type]  # a literal of theirs
        metadata=msgspec.json.encode({_KEY: msgspec.json.encode(facts).decode()}),
    )


def beside_record(change: Beside) -> NewRecord:
    """What is kept beside the log, as it is appended to a stream of its own."""
    kind, name, row = change
    digest = hashlib.sha256(name.encode()).hexdigest()[:40]  # names may be as long as a stream's may
    data = msgspec.json.encode(_Row(kind, name, row))
    return NewRecord(stream_name=f"{RESERVED}{kind}-{digest}", type=f"Headwater.{kind}", data=data, id=uuid.uuid4())


def commit_record(token: str) -> NewRecord:
    """The record that ends a commit."""
    data = msgspec.json.encode(Committed(token))
    return NewRecord(stream_name=COMMITS, type="Headwater.commit", data=data, id=uuid.UUID(token))


def is_own(recorded: RecordedEvent) -> bool:
    """Whether a Headwater has written it: then the record of its commit follows."""
    return recorded.stream_name.startswith(RESERVED) or _KEY.encode() in recorded.metadata


def event_of(recorded: RecordedEvent) -> Event:
    """The event that was recorded, by us or by another client."""
    facts = _facts_of(recorded)
    if facts is None:
        return _foreign(recorded)
    own = recorded.stream_name == STREAMLESS
    return Event(
        position=recorded.commit_position,
        stream=None if own else recorded.stream_name,
        version=0 if own else recorded.stream_position + 1,
        raw_id=recorded.id.bytes,
        type=recorded.type,
        raw_data=recorded.data,
        raw_metadata=facts.metadata.encode(),
        tags=facts.tags,
        content_type=facts.content_type or JSON,
        recorded_us=facts.recorded_us,
        occurred_us=facts.occurred_us,
    )


def _facts_of(recorded: RecordedEvent) -> _Facts | None:
    if _KEY.encode() not in recorded.metadata:
        return None
    try:
        return msgspec.json.decode(msgspec.json.decode(recorded.metadata, type=dict[str, str])[_KEY], type=_Facts)
    except (msgspec.DecodeError, KeyError):
        return None


def _foreign(recorded: RecordedEvent) -> Event:
    """An event of another client. What only claims to be JSON, is bytes to us."""
    data, metadata = recorded.data, recorded.metadata
    return Event(
        position=recorded.commit_position,
        stream=recorded.stream_name,
        version=recorded.stream_position + 1,
        raw_id=recorded.id.bytes,
        type=recorded.type,
        raw_data=data,
        raw_metadata=metadata if _is_json(metadata, dict) else b"",
        tags=(),
        content_type=JSON if is_json(recorded.content_type) and _is_json(data, msgspec.Raw) else BYTES,
        recorded_us=microseconds_of(recorded.recorded_at) if recorded.recorded_at is not None else 0,
        occurred_us=None,
    )


def _is_json(raw: bytes, kind: type) -> bool:
    try:
        msgspec.json.decode(raw, type=kind)
        raw.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def beside_of(recorded: RecordedEvent) -> Beside:
    """What is kept beside the log, from its record. Raises ``msgspec.DecodeError``."""
    row = msgspec.json.decode(recorded.data, type=_Row)
    return row.kind, row.name, row.row


def commit_of(recorded: RecordedEvent) -> str:
    """The token of a commit, from its record. Raises ``msgspec.DecodeError``."""
    return msgspec.json.decode(recorded.data, type=Committed).token


def state_of(version: int) -> StreamState | int:
    """What is expected of a stream at a version, as KurrentDB counts."""
    return StreamState.NO_STREAM if version == 0 else version - 1
