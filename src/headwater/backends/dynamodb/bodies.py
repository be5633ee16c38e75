"""Events as bytes: what an append brings, encoded once, in parts that are read each by itself."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import msgspec

from headwater.backend import Write
from headwater.backends.dynamodb.blobs import CHUNK, packed, unpacked
from headwater.backends.dynamodb.keys import stream_partition, streamless_partition
from headwater.backends.dynamodb.rows import Row, outlined
from headwater.events import JSON, Event, EventRecord

__all__ = ["PART", "Batch", "Part", "Piece", "decoded", "prepared"]

PART = 200_000
"""A part is full once its events hold so many bytes."""

_Stored = tuple[bytes, str, bytes, bytes, tuple[str, ...], str, int | None]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Stored]).decode


class Part(msgspec.Struct, frozen=True):
    """Some events of a write."""

    count: int
    size: int
    """Bytes of data and metadata."""
    body: bytes

    @property
    def chunks(self) -> int:
        """Items that it takes where it is staged."""
        return -(-len(self.body) // CHUNK)


class Piece(msgspec.Struct, frozen=True):
    """One write of an append, encoded."""

    write: Write
    partition: str
    parts: tuple[Part, ...]
    kinds: bytes | None
    """What a row of the log tells of the events; see ``rows``."""

    @property
    def count(self) -> int:
        """Number of its events."""
        return len(self.write.records)

    @property
    def stored(self) -> int:
        """Bytes that its parts take."""
        return sum(len(part.body) for part in self.parts)

    def row(self, first: int) -> Row:
        """How the log tells of it."""
        return Row(self.partition, first, self.count, sum(part.size for part in self.parts), self.kinds)


class Batch(msgspec.Struct, frozen=True):
    """An append, encoded, under a name of its own."""

    name: str
    pieces: tuple[Piece, ...]

    @property
    def ids(self) -> list[bytes]:
        """Of all its events."""
        return [record.id for piece in self.pieces for record in piece.write.records]


def prepared(writes: Sequence[Write]) -> Batch:
    """The append, encoded."""
    name = uuid.uuid4().hex
    return Batch(name, tuple(_piece(write, f"{name}{number}") for number, write in enumerate(writes)))


def _piece(write: Write, name: str) -> Piece:
    partition = streamless_partition(name) if write.stream is None else stream_partition(write.stream)
    parts: list[Part] = []
    records: list[EventRecord] = []
    size = 0
    for record in write.records:
        records.append(record)
        size += len(record.data) + len(record.metadata)
        if size >= PART:
            parts.append(_part(records, size))
            records, size = [], 0
    if records:
        parts.append(_part(records, size))
    return Piece(write, partition, tuple(parts), outlined(write.records))


def _part(records: Sequence[EventRecord], size: int) -> Part:
    stored = [
        (
            record.id,
            record.type,
            record.data,
            record.metadata,
            record.tags,
            "" if record.content_type == JSON else record.content_type,
            record.occurred_us,
        )
        for record in records
    ]
    return Part(len(records), size, packed(_encode(stored)))


def decoded(
    body: bytes, position: int, stream: str | None, version: int, recorded_us: int, wanted: slice
) -> list[Event]:
    """Those events of a part that are wanted. Its first has this position and version (0 where there is no stream)."""
    first = wanted.start
    return [
        Event(
            position + number,
            stream,
            version + number if stream is not None else 0,
            id,
            kind,
            data,
            metadata,
            tags,
            content_type or JSON,
            recorded_us,
            occurred_us,
        )
        for number, (id, kind, data, metadata, tags, content_type, occurred_us) in enumerate(
            _decode(unpacked(body))[wanted], first
        )
    ]
