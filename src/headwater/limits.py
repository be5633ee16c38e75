"""Every limit of the store, in one place, each with its unit last in its name.

A limit is checked before anything is sent to a backend, so going over one never costs a write. Pass your own with
``headwater.connect(url, limits=Limits(event_bytes_max=...))``.
"""

from __future__ import annotations

import msgspec

__all__ = ["Limits"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on what one call may carry. Going over one raises ``TooLarge`` and writes nothing.

    The defaults let every built-in backend keep its promises on a small machine: names fit a B-tree key of every
    database used, and a page of events fits in memory many times over.
    """

    event_bytes_max: int = 1_048_576
    """Stored data of one event, in bytes (1 MiB)."""
    metadata_bytes_max: int = 65_536
    """Stored metadata of one event, in bytes (64 KiB)."""
    stream_name_bytes_max: int = 512
    """Name of a stream, in UTF-8 bytes."""
    type_bytes_max: int = 256
    """Type of an event, in UTF-8 bytes."""
    tag_bytes_max: int = 256
    """One tag, in UTF-8 bytes."""
    tags_max: int = 64
    """Tags on one event."""
    append_events_max: int = 10_000
    """Events in one atomic append, over all its streams."""
    append_bytes_max: int = 33_554_432
    """Stored data and metadata in one atomic append, in bytes (32 MiB)."""
    query_items_max: int = 100
    """Items in one query."""
    query_values_max: int = 1_000
    """Types, tags, categories and streams in one query, over all its items."""
    snapshot_bytes_max: int = 67_108_864
    """Stored state of one snapshot, in bytes (64 MiB)."""
    page_events_max: int = 1_000
    """Events that a reader fetches and holds at a time."""
    page_bytes_max: int = 8_388_608
    """Bytes of data and metadata after which a page ends (8 MiB). The last few events of a page may go over it."""
