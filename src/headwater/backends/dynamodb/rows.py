"""The rows of the log: which commit has which positions, and what its events are called, so that a query that is
looking for some does not read them all.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headwater.backends.dynamodb.blobs import packed, unpacked
from headwater.backends.dynamodb.keys import stream_of
from headwater.events import Event, EventRecord

__all__ = [
    "KINDS_MAX",
    "ROWS_MAX",
    "Outlines",
    "Row",
    "decoded_mates",
    "decoded_rows",
    "encoded_mates",
    "encoded_rows",
    "outlined",
    "outlines",
]

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
    """Types and tags, each text once, and each set of them once: many events have the same."""

    texts: list[str]
    sets: list[tuple[int, ...]]
    """The number of the type's text, and those of the tags' texts."""
    events: list[int]
    """Of each event: the number of its set."""


_encode = msgspec.msgpack.Encoder().encode
_decode_kinds = msgspec.msgpack.Decoder(_Kinds).decode
_decode_mates = msgspec.msgpack.Decoder(list[tuple[str, int]]).decode
_decode_rows = msgspec.msgpack.Decoder(list[Row]).decode


def outlined(records: Sequence[EventRecord] | Sequence[Event]) -> bytes | None:
    """``Row.kinds`` of these events."""
    texts: dict[str, int] = {}
    sets: dict[tuple[int, ...], int] = {}
    events = []
    for record in records:
        named = tuple([texts.setdefault(text, len(texts)) for text in (record.type, *record.tags)])
        events.append(sets.setdefault(named, len(sets)))
    kinds = packed(_encode(_Kinds(list(texts), list(sets), events)))
    return kinds if len(kinds) <= KINDS_MAX else None


class Outlines:
    """The events of a row whose first is at ``position``, without what only their commit tells (ids, data …)."""

    def __init__(self, row: Row, position: int, kinds: bytes) -> None:
        self._stream = stream_of(row.partition)
        self._first = row.first
        self._position = position
        self._kinds = _decode_kinds(unpacked(kinds))

    def at(self, position: int) -> Event:
        """The event at this position. Made when asked for: a row may have many thousands."""
        number = position - self._position
        texts = self._kinds.texts
        kind, *tags = self._kinds.sets[self._kinds.events[number]]
        return Event(
            position,
            self._stream,
            self._first + number if self._stream is not None else 0,
            b"",
            texts[kind],
            b"",
            b"",
            tuple([texts[tag] for tag in tags]),
            "",
            0,
            None,
        )


def outlines(row: Row, position: int) -> Outlines | None:
    """The outlines of a row whose first event is at ``position``; None where it does not tell types and tags."""
    return None if row.kinds is None else Outlines(row, position, row.kinds)


def encoded_rows(rows: Sequence[Row]) -> bytes:
    """Rows as they stand in a page or in the outbox; without their kinds where those would not fit into an item."""
    stored = packed(_encode(rows))
    if len(stored) > ROWS_MAX:
        return packed(_encode([msgspec.structs.replace(row, kinds=None) for row in rows]))
    return stored


def encoded_mates(commits: Sequence[tuple[str, int]]) -> bytes:
    """Commits of one append, by partition and first version."""
    return packed(_encode(commits))


def decoded_mates(stored: bytes) -> list[tuple[str, int]]:
    """What ``encoded_mates`` made."""
    return _decode_mates(unpacked(stored))


def decoded_rows(stored: bytes) -> list[Row]:
    """What ``encoded_rows`` made."""
    return _decode_rows(unpacked(stored))
