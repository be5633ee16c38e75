"""Which positions a type, tag, category or stream has: one item for each and segment of the log that it occurs in.

The index follows the log: it is made of pages that never change, so that whoever makes a segment of it writes the same
items, and nobody needs a lock. A store's item says how many segments are complete; above them, readers look through the
rows of the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import suppress

import msgspec

from headwater.backends.dynamodb.blobs import packed, unpacked
from headwater.backends.dynamodb.faults import Refused
from headwater.backends.dynamodb.keys import INDEXED, index_key, z
from headwater.backends.dynamodb.log import Log, Placed, Spot
from headwater.backends.dynamodb.requests import Item
from headwater.backends.dynamodb.rows import outlines
from headwater.backends.dynamodb.service import Service, in_turns
from headwater.errors import HeadwaterError
from headwater.events import Event, category_of
from headwater.queries import Branch, Query

__all__ = ["SEGMENT", "Index"]

SEGMENT = 1_024
"""Positions in a segment."""
WINDOW = 1
"""Segments that a query looks up first; more at a time where they hold little."""
DENSE = 8
"""Where one position of so many is wanted, or more, the rows between are read through."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[int]).decode


class Index:
    """Makes the index, and looks things up in it."""

    def __init__(self, service: Service, log: Log) -> None:
        self._service = service
        self._log = log
        self._built = 0
        self._head = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def moved(self, position: int) -> None:
        """The log has come to a position: make what can be made, in the background."""
        self._head = max(self._head, position)
        if self._task is None and not self._closed and self._head // SEGMENT > self._built:
            self._task = asyncio.get_running_loop().create_task(self._follow())

    async def _follow(self) -> None:
        try:
            with suppress(HeadwaterError):  # the service is away: the next append begins again
                await self.catch_up()
        finally:
            self._task = None

    async def catch_up(self) -> None:
        """Make all whole segments up to the last position known."""
        self._built = await self._read_built()
        while self._built < self._head // SEGMENT:
            await self._service.put_all(await self._items(self._built))
            try:
                await self._service.update(INDEXED, {"v": self._built + 1}, {"v": self._built})
                self._built += 1
            except Refused:  # another process has made it
                self._built = await self._read_built()

    async def _read_built(self) -> int:
        item = await self._service.get(INDEXED)
        return 0 if item is None else int(item["v"])

    async def _items(self, segment: int) -> list[Item]:
        """The index of a segment."""
        start, end = segment * SEGMENT, (segment + 1) * SEGMENT
        positions: dict[str, list[int]] = {}
        async for placed in self._log.rows(start, end):
            for event in await self._outlines(placed, start, end):
                for key in _keys(event):
                    positions.setdefault(key, []).append(event.position - start)
        return [{"p": key, "k": z(segment), "b": packed(_encode(found))} for key, found in positions.items()]

    async def _outlines(self, placed: Placed, start: int, end: int) -> Sequence[Event]:
        positions = range(max(start + 1, placed.position), min(end, placed.last) + 1)
        events = outlines(placed.row, placed.position)
        if events is None:
            return await self._log.events([Spot(position, placed) for position in positions])
        return [events.at(position) for position in positions]

    async def built(self, upto: int) -> int:
        """The position up to which the index is complete. Looked up again where that is far behind ``upto``."""
        self.moved(upto)
        if upto // SEGMENT > self._built:
            self._built = max(self._built, await self._read_built())
        return self._built * SEGMENT

    async def spots(self, query: Query, after: int, upto: int, backwards: bool) -> AsyncGenerator[Spot, None]:
        """Events that may match the query, with ``after < position <= upto``, in order. The index must reach there."""
        width = WINDOW
        low, high = after // SEGMENT, (upto - 1) // SEGMENT
        while low <= high:
            first, last = (max(low, high - width + 1), high) if backwards else (low, min(high, low + width - 1))
            found = await self._positions(query.branches(), first, last)
            sparse = len(found) * DENSE < width * SEGMENT
            wanted = sorted([position for position in found if after < position <= upto], reverse=backwards)
            del found
            async for spot in self._spots(wanted, backwards):
                yield spot
            low, high = (low, first - 1) if backwards else (last + 1, high)
            width *= 4 if sparse else 1

    async def _positions(self, branches: Sequence[Branch], first: int, last: int) -> set[int]:
        keys = dict.fromkeys(_leading(branch) for branch in branches)
        found = await in_turns([self._lookup(key, first, last) for key in keys])
        return {position for positions in found for position in positions}

    async def _lookup(self, key: str, first: int, last: int) -> list[int]:
        return [
            int(item["k"]) * SEGMENT + number
            async for item in self._service.query(key, z(first), z(last))
            for number in _decode(unpacked(item["b"]))
        ]

    async def _spots(self, wanted: Sequence[int], backwards: bool) -> AsyncGenerator[Spot, None]:
        if not wanted:
            return
        low, high = min(wanted), max(wanted)
        if len(wanted) * DENSE < high - low + 1:
            async for spot in self._log.rows_at(wanted):
                yield spot
            return
        asked = frozenset(wanted)
        rows = self._log.rows_backwards(low - 1, high) if backwards else self._log.rows(low - 1, high)
        async for placed in rows:
            span: Iterable[int] = range(max(low, placed.position), min(high, placed.last) + 1)
            for position in sorted(asked.intersection(span), reverse=backwards):
                yield Spot(position, placed)

    async def close(self) -> None:
        """Make nothing more."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _keys(event: Event) -> list[str]:
    """Under which keys an event is found."""
    keys = [index_key("type", event.type), *[index_key("tag", tag) for tag in event.tags]]
    if event.stream is not None:
        keys += [index_key("category", category_of(event.stream)), index_key("stream", event.stream)]
    return keys


def _leading(branch: Branch) -> str:
    if branch.tag is not None:
        return index_key("tag", branch.tag)
    if branch.stream is not None:
        return index_key("stream", branch.stream)
    if branch.type is not None:
        return index_key("type", branch.type)
    return index_key("category", branch.category or "")
