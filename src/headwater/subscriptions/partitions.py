"""Which part of a consumer an event belongs to: events of one key keep their order, so they share a part."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

from headwater.errors import InvalidConsumer
from headwater.events import Event, category_of

__all__ = ["KeyOf", "PartitionBy", "key_function", "part_of", "partitioning_name"]

KeyOf = Callable[[Event], str]

PartitionBy = str | KeyOf
"""``stream``, ``category``, ``tag:applicant`` (the first tag that starts with ``applicant:``), or a function."""


def key_function(consumer: str, partition_by: PartitionBy) -> KeyOf:
    """The function from an event to its key. Events without one share the key ''."""
    if callable(partition_by):
        return _checking(consumer, partition_by)
    if partition_by == "stream":
        return _stream
    if partition_by == "category":
        return _category
    kind, _, name = partition_by.partition(":")
    if kind == "tag" and name:
        prefix = f"{name}:"
        return lambda event: next((tag for tag in event.tags if tag.startswith(prefix)), "")
    raise InvalidConsumer(
        consumer,
        f"can't be partitioned by {partition_by!r}",
        'Give "stream", "category", "tag:name", or a function from an event to a text.',
    )


def _checking(consumer: str, function: KeyOf) -> KeyOf:
    def key_of(event: Event) -> str:
        key = function(event)
        if not isinstance(key, str):
            raise InvalidConsumer(
                consumer,
                f"partition_by gave {key!r} for the event at position {event.position}",
                "Let it give a text: '' for events without a key.",
            )
        return key

    return key_of


def partitioning_name(partition_by: PartitionBy) -> str:
    """How the partitioning is written down, so that members can see whether they agree."""
    if isinstance(partition_by, str):
        return partition_by
    return f"function {getattr(partition_by, '__qualname__', type(partition_by).__qualname__)}"


def part_of(key: str, partitions: int) -> int:
    """The number of the part for a key: the same on every machine, for ever."""
    return crc32(key.encode("utf-8", "surrogatepass")) % partitions


def _stream(event: Event) -> str:
    return event.stream or ""


def _category(event: Event) -> str:
    return category_of(event.stream) if event.stream is not None else ""
