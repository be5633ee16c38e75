"""Commits as they are stored, back to events."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headwater.backends.dynamodb.appender import part_start
from headwater.backends.dynamodb.blobs import chunk_keys
from headwater.backends.dynamodb.bodies import decoded
from headwater.backends.dynamodb.keys import Key, append_of, stream_of
from headwater.backends.dynamodb.requests import Item
from headwater.backends.dynamodb.service import Service
from headwater.errors import CorruptStore
from headwater.events import Event

__all__ = ["Taken", "first_of", "read", "sizes_of"]

_decode_parts = msgspec.msgpack.Decoder(list[tuple[int, int, int]]).decode


class Taken(msgspec.Struct, frozen=True):
    """A commit, and which of its events are wanted."""

    item: Item
    position: int
    """Of its first event."""
    low: int
    """The number of the first event that is wanted, from 0."""
    high: int
    """The number of the last one."""


def first_of(item: Item) -> int:
    """The version of a commit's first event; 1 where there is no stream."""
    return int(item["k"][2:21])


def sizes_of(item: Item) -> list[tuple[int, int]]:
    """Number and bytes of the events of each part; of the one part of a commit that was not staged, what is stored."""
    if "s" in item:
        return [(count, size) for count, size, _ in _decode_parts(item["s"])]
    return [(item["n"], len(item["b"]))]


async def read(service: Service, wanted: Sequence[Taken]) -> list[Event]:
    """The events that are wanted, commit by commit. Parts that hold none of them are not fetched."""
    plans = [_plan(taken) for taken in wanted]
    keys = [key for plan in plans for _, chunks in plan for key in chunks]
    found = await service.get_many(keys) if keys else {}
    events: list[Event] = []
    for taken, plan in zip(wanted, plans, strict=True):
        stream = stream_of(taken.item["p"])
        first, recorded_us = first_of(taken.item), taken.item["t"]
        for start, chunks in plan:
            if not chunks:
                body = taken.item["b"]
            elif all(key in found for key in chunks):
                body = b"".join([found[key]["b"] for key in chunks])
            else:
                raise CorruptStore(
                    service.target.shown,
                    f"bytes of commit {taken.item['k']!r} of {taken.item['p']!r} are missing",
                    "Restore the table to another moment.",
                )
            of_part = slice(max(0, taken.low - start), taken.high + 1 - start)
            events += decoded(body, taken.position + start, stream, first + start, recorded_us, of_part)
    return events


def _plan(taken: Taken) -> list[tuple[int, list[Key]]]:
    """The parts that are needed: the number of each one's first event, and the keys of its chunks."""
    item = taken.item
    if "b" in item:
        return [(0, [])]
    plan: list[tuple[int, list[Key]]] = []
    start = 0
    for number, (count, _, chunks) in enumerate(_decode_parts(item["s"])):
        if start <= taken.high and start + count > taken.low:
            plan.append((start, chunk_keys(append_of(item["a"]), part_start(item["w"], number), chunks)))
        start += count
    return plan
