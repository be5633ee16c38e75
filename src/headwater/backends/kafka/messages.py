"""How events, and what is kept beside them, look as messages of Kafka.

An event is a CloudEvent in the binary mode of the Kafka protocol binding (1.0.2, section 3.2), so that any consumer of
committed messages can use the topic; what is our own stands in one header, ``headwater``. Beside the log, the latest
message of a key counts: its kind, a zero byte, and the name.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import msgspec

from headwater.events import Event, datetime_of

__all__ = ["COMMIT", "OWNER", "STORE"]
__all__ += ["Committed", "Headers", "Mark", "Owner", "Received", "Store"]
__all__ += ["event_of", "headers_of", "key_of", "position_of", "split_key"]

COMMIT, OWNER, STORE = "commit", "owner", "store"
"""About the store itself: the last transaction, who owns it, what it is."""
Headers = list[tuple[str, str | bytes | None]]
Received = Sequence[tuple[str, bytes]]


class Store(msgspec.Struct, frozen=True):
    """What the store is; written once."""

    identity: str
    format: int = 1


class Owner(msgspec.Struct, frozen=True):
    """Who owns the store from here on."""

    token: str
    """Of this time of owning; '' where the owner has let go."""
    address: str
    index: str = ""
    """The name of its index: one opening at a time has that."""


class Committed(msgspec.Struct, frozen=True):
    """A transaction of an owner."""

    token: str
    position: int
    """Of the last event in the log once it is committed."""
    sequence: int
    """Rises by one with each transaction."""


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """On each message beside the log: which transaction it is of."""

    sequence: int
    position: int


class _Facts(msgspec.Struct, frozen=True, array_like=True):
    """What of an event no header of CloudEvents holds exactly."""

    position: int
    version: int
    recorded_us: int
    occurred_us: int | None
    tags: tuple[str, ...]
    metadata: bytes


def headers_of(event: Event, identity: str) -> Headers:
    """The headers of an event's message."""
    facts = _Facts(event.position, event.version, event.recorded_us, event.occurred_us, event.tags, event.raw_metadata)
    moment = datetime_of(event.recorded_us if event.occurred_us is None else event.occurred_us)
    headers: Headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(uuid.UUID(bytes=event.raw_id)).encode()),
        ("ce_source", f"urn:headwater:{identity}".encode()),
        ("ce_type", event.type.encode()),
        ("ce_time", moment.isoformat().encode()),
        ("content-type", event.content_type.encode()),
        ("headwater", msgspec.msgpack.encode(facts)),
    ]
    if event.stream is not None:
        headers.append(("ce_subject", event.stream.encode()))
    return headers


def event_of(key: bytes | None, value: bytes | None, headers: Received) -> Event:
    """The event of a message. Raises ``KeyError`` or ``ValueError`` where it is none of ours."""
    given = dict(headers)
    facts = _facts_of(headers)
    return Event(
        position=facts.position,
        stream=None if key is None else key.decode(),
        version=facts.version,
        raw_id=uuid.UUID(given["ce_id"].decode()).bytes,
        type=given["ce_type"].decode(),
        raw_data=value or b"",
        raw_metadata=facts.metadata,
        tags=facts.tags,
        content_type=given["content-type"].decode(),
        recorded_us=facts.recorded_us,
        occurred_us=facts.occurred_us,
    )


def position_of(headers: Received) -> int:
    """The position of a message's event. Raises as ``event_of`` does."""
    return _facts_of(headers).position


def _facts_of(headers: Received) -> _Facts:
    return msgspec.msgpack.decode(dict(headers)["headwater"], type=_Facts)


def key_of(kind: str, name: str) -> bytes:
    """The key of what is kept beside the log."""
    return f"{kind}\0{name}".encode()


def split_key(key: bytes) -> tuple[str, str]:
    """Kind and name."""
    kind, _, name = key.decode().partition("\0")
    return kind, name
