"""Where each kind of item is: the keys of the one table. ``p`` is the partition, ``k`` the place in it.

=================== ==================== ==========================================================
``p``               ``k``                what
=================== ==================== ==========================================================
``G``               ``H``                the store: identity, format, last position
``G``               ``W``                how much of the log is indexed
``S#<stream>``      ``H``                head of a stream: version, state, policy
``S#<stream>``      ``E#<first>``        a commit: events from version ``first`` on
``S#<stream>``      ``E#<first>#P``      its position, where it was given after the commit
``U#<append>``      ``E#<first>``        a commit of events that belong to no stream
``I#<event id>``    ``I``                where the event with this id is, or who claims the id
``A#<append>``      ``H``                whether a staged append was committed
``A#<append>``      ``<part>``           bytes that were staged for it
``O#<shard>``       ``<append>``         outbox: committed, without a position yet
``L#<stretch>``     ``<position>``       a page of the log: which commits have the positions from here on
``X#<kind>#<key>``  ``<segment>``        index: the positions of a type, tag, category or stream in a segment
``D#<shard>``       ``#<stream>``        the list of streams
``R``               ``#<name>``          a record
``C``               ``#<name>``          a checkpoint
``N``               ``#<name>``          the list of snapshots
``N#<name>``        ``H``                a snapshot
``B#<blob>``        ``<part>``           bytes too large for the item that they belong to
=================== ==================== ==========================================================
"""

from __future__ import annotations

import zlib

__all__ = [
    "END",
    "GLOBAL",
    "INDEXED",
    "STRETCH",
    "Key",
    "append_of",
    "commit_key",
    "head_key",
    "id_key",
    "index_key",
    "listed_key",
    "named",
    "outbox",
    "page_key",
    "place_key",
    "shard_of",
    "status_key",
    "stream_of",
    "stream_partition",
    "streamless_partition",
    "stretch_of",
    "z",
]

Key = tuple[str, str]

GLOBAL: Key = ("G", "H")
INDEXED: Key = ("G", "W")

STRETCH = 2**20
"""Positions whose pages share a partition."""
END = "~"
"""Above every digit and ``#``."""


def z(number: int) -> str:
    """A number as text that sorts as the number does."""
    return f"{number:019d}"


def named(name: str) -> str:
    """A name as a sort key, which must not be empty."""
    return f"#{name}"


def stream_partition(stream: str) -> str:
    """Where a stream's head and commits are."""
    return f"S#{stream}"


def streamless_partition(append: str) -> str:
    """Where the commit of an append without a stream is."""
    return f"U#{append}"


def stream_of(partition: str) -> str | None:
    """The stream of a partition of commits; None for events without one."""
    return partition[2:] if partition.startswith("S#") else None


def head_key(stream: str) -> Key:
    """A stream's head."""
    return stream_partition(stream), "H"


def commit_key(partition: str, first: int) -> Key:
    """The commit whose first event has this version."""
    return partition, f"E#{z(first)}"


def place_key(partition: str, first: int) -> Key:
    """The position of a commit. Sorts right behind it, so that one query finds both."""
    return partition, f"E#{z(first)}#P"


def id_key(id: bytes) -> Key:
    """Where an event is, by its id."""
    return f"I#{id.hex()}", "I"


def append_of(append: str) -> str:
    """The partition of a staged append."""
    return f"A#{append}"


def status_key(append: str) -> Key:
    """Whether a staged append was committed or given up."""
    return append_of(append), "H"


def outbox(shard: int) -> str:
    """A partition of the outbox."""
    return f"O#{shard}"


def stretch_of(position: int) -> str:
    """The partition of the log's page that begins at a position."""
    return f"L#{position // STRETCH}"


def page_key(position: int) -> Key:
    """The log's page that begins at a position."""
    return stretch_of(position), z(position)


def index_key(kind: str, value: str) -> str:
    """The partition of the index for one type, tag, category or stream."""
    return f"X#{kind}#{value}"


def listed_key(stream: str, shards: int) -> Key:
    """Where a stream stands in the list of streams."""
    return f"D#{shard_of(stream, shards)}", named(stream)


def shard_of(text: str, shards: int) -> int:
    """Which of so many partitions, the same in every process."""
    return zlib.crc32(text.encode()) % shards
