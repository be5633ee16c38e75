"""What is kept of a consumer in the store, as records beside the log, and how it is written.

``consumers/<name>/about``           what it is: its query, its partitioning, whether it is paused
``consumers/<name>/parts/<number>``  how far each part has come, and which member holds it: progress and lease in one
                                     record, so that whoever lost the lease can't write the progress (the record's
                                     revision is the fencing token)
``consumers/<name>/members/<id>``    who is alive
``parked/<name>/<position>``         events that could not be handled
``inbox/<name>/<part>/<event id>``   events that a reactor has handled, until its checkpoint has passed them
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from headwater.backend import Record
from headwater.errors import CorruptStore, InvalidConsumer
from headwater.events import Event
from headwater.queries import Query, QueryItem

__all__ = [
    "About",
    "MemberState",
    "Parked",
    "PartState",
    "Progress",
    "about_name",
    "advanced",
    "checked_consumer",
    "decoded",
    "encoded",
    "inbox_prefix",
    "member_name",
    "parked_name",
    "parked_prefix",
    "part_name",
    "prefix_of",
    "query_of",
    "written_query",
]

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")
_MASK = 2**64 - 1
_ODD = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio: spreads neighbouring positions over all bits


class Progress(msgspec.Struct, frozen=True):
    """How far a part has come, and the account of what was delivered to it since ``since``."""

    position: int
    """Everything up to here that belongs to the part is handled (or parked)."""
    since: int
    """The account counts from behind this position."""
    count: int = 0
    digest: int = 0
    """Sum over the events of their id and position, modulo 2**64: whatever the order, the same events give the same."""
    reversed: int = 0
    """Events that came at or below the position."""


def advanced(progress: Progress, events: Sequence[Event], upto: int | None = None) -> Progress:
    """The progress after these events were handled; ``upto``: nothing else of the part stands up to there."""
    position, digest, reverse = progress.position, progress.digest, progress.reversed
    for event in events:
        if event.position <= position:
            reverse += 1
        else:
            position = event.position
        digest += int.from_bytes(event.raw_id[8:]) ^ (event.position * _ODD & _MASK)
    return Progress(
        position if upto is None else max(upto, position),
        progress.since,
        progress.count + len(events),
        digest & _MASK,
        reverse,
    )


class About(msgspec.Struct, frozen=True):
    """What a consumer is, for all its members."""

    store: str
    query: list[dict[str, list[str]]]
    """Empty: every event."""
    partitions: int
    partition_by: str
    kind: str = "consumer"
    paused: bool = False


class PartState(msgspec.Struct, frozen=True):
    """A part's progress and lease."""

    progress: Progress
    owner: str = ""
    """The member that holds it; '' where it is free."""
    lease_us: int = 0
    """For how long after it was saved the member holds it, in microseconds of the database's clock."""
    furthest: int = 0
    """The highest position that was ever handled, rewound or not."""
    rate: float = 0.0
    """Events a second, lately."""
    error: str = ""
    """What the last failure was, and at which position."""


class MemberState(msgspec.Struct, frozen=True):
    """Where a member runs, for people."""

    host: str
    process: int


class Parked(msgspec.Struct, frozen=True):
    """An event that was put aside."""

    position: int
    id: str
    stream: str | None
    type: str
    key: str
    part: int
    error: str
    """The failure; of an event that waits behind a parked one of its key, which one that is."""
    attempts: int
    parked_us: int
    held: bool = False
    """Never tried: it waits behind an earlier event of its key."""
    replay: bool = False
    """Somebody asked to try it again."""


def checked_consumer(name: str) -> str:
    """The name, or ``InvalidConsumer``."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidConsumer(
            name, "has a name that can't be kept", "Use 1 to 100 letters, digits, '_', '.', ':' and '-'."
        )
    return name


def prefix_of(consumer: str) -> str:
    return f"consumers/{consumer}/"


def about_name(consumer: str) -> str:
    return f"consumers/{consumer}/about"


def part_name(consumer: str, part: int) -> str:
    return f"consumers/{consumer}/parts/{part:05d}"


def member_name(consumer: str, member: str) -> str:
    return f"consumers/{consumer}/members/{member}"


def parked_prefix(consumer: str) -> str:
    return f"parked/{consumer}/"


def parked_name(consumer: str, position: int) -> str:
    return f"parked/{consumer}/{position:020d}"


def inbox_prefix(consumer: str, part: int | None = None) -> str:
    """Of the records of one part, or of all."""
    return f"inbox/{consumer}/" if part is None else f"inbox/{consumer}/{part:05d}/"


encoded = msgspec.json.Encoder().encode


def decoded(record: Record, kind: type[T]) -> T:
    """The record's value. ``CorruptStore`` where it is something else."""
    try:
        return msgspec.json.decode(record.value, type=kind)
    except msgspec.MsgspecError as error:
        raise CorruptStore(
            f"record {record.name}", f"it can't be read as {kind.__name__} ({error})", "Was it written by hand?"
        ) from error


def written_query(query: Query | None) -> list[dict[str, list[str]]]:
    """The query as ``About`` keeps it."""
    items = query.items if query is not None else ()
    return [{name: list(getattr(item, name)) for name in QueryItem.__slots__ if getattr(item, name)} for item in items]


def query_of(written: list[dict[str, list[str]]]) -> Query | None:
    """The query that ``About`` keeps."""
    items: list[Any] = [QueryItem(**item) for item in written]
    return Query(items) if items else None
