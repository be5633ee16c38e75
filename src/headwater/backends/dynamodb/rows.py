"""The rows of the log: which commit has which positions, and what its events are called, so that a query that is
looking for some does not read them all.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headwater.backends.dynamodb.blobs import packed, unpacked
from headwater.backends.dynamodb.keys import stream_of
from headwater.events import Event, EventRecord

__all__ = ["KINDS_MAX", "ROWS_MAX", "Row", "decoded_rows", "encoded_rows", "outlined", "outlines"]

KINDS_MAX = 16_000
"""Bytes of ``Row.kinds``. Where there would be more, a query reads the events."""

ROWS_MAX = 350_000
"""Bytes of rows in one item."""


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One commit in the log."""

    partition: str
    first: int
    """The version of its first event; 1 where there is no stream."""
    count: int
    """Of events, whose positions follow each other."""
    size: int
    """Bytes of their data and metadata."""
    kinds: bytes | None
    """Types and tags of its events, packed; None where they are too many."""


class _Kinds(msgspec.Struct, frozen=True, array_like=True):
    """Types and tags, each text once."""

    texts: list[str]
    events: list[list[int]]
    """Of each event: the number of its type's text, and of its tags' texts."""


_encode = msgspec.msgpack.Encoder().encode
_decode_kinds = msgspec.msgpack.Decoder(_Kinds).decode
_decode_rows = msgspec.msgpack.Decoder(list[Row]).decode


def outlined(records: Sequence[EventRecord]) -> bytes | None:
    """``Row.kinds`` of these events."""
    texts: dict[str, int] = {}
    events = [[texts.setdefault(text, len(texts)) for text in (record.type, *record.tags)] for record in records]
    kinds = packed(_encode(_Kinds(list(texts), events)))
    return kinds if len(kinds) <= KINDS_MAX else None


def outlines(row: Row, position: int) -> list[Event] | None:
    """The events of a row whose first is at ``position``, without what only their commit tells (ids, data …).

    None where the row does not tell their types and tags.
    """
    if row.kinds is None:
        return None
    kinds = _decode_kinds(unpacked(row.kinds))
    stream = stream_of(row.partition)
    return [
        Event(
            position + number,
            stream,
            row.first + number if stream is not None else 0,
            b"",
            kinds.texts[kind],
            b"",
            b"",
            tuple([kinds.texts[tag] for tag in tags]),
            "",
            0,
            None,
        )
        for number, (kind, *tags) in enumerate(kinds.events)
    ]


def encoded_rows(rows: Sequence[Row]) -> bytes:
    """Rows as they stand in a page or in the outbox; without their kinds where those would not fit into an item."""
    stored = packed(_encode(rows))
    if len(stored) > ROWS_MAX:
        return packed(_encode([msgspec.structs.replace(row, kinds=None) for row in rows]))
    return stored


def decoded_rows(stored: bytes) -> list[Row]:
    """What ``encoded_rows`` made."""
    return _decode_rows(unpacked(stored))
