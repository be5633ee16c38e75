"""Pages of a stream, of the log, and of what a query finds."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from datetime import timedelta

from headwater.backend import Page, Write, size_of
from headwater.backends.dynamodb.commits import Taken, first_of, read, sizes_of
from headwater.backends.dynamodb.heads import Head, Heads
from headwater.backends.dynamodb.ids import Ids
from headwater.backends.dynamodb.index import Index
from headwater.backends.dynamodb.keys import commit_key, place_key, stream_partition
from headwater.backends.dynamodb.log import Log, Placed, Spot
from headwater.backends.dynamodb.requests import Item
from headwater.backends.dynamodb.rows import Outlines, outlines
from headwater.backends.dynamodb.sequencer import Sequencer
from headwater.backends.dynamodb.service import Service
from headwater.errors import AppendConditionFailed, CorruptStore
from headwater.events import Event
from headwater.queries import Query

__all__ = ["Reader"]

FETCHED_MAX = 300
"""Events that are fetched at a time."""


class Reader:
    """Reads events."""

    def __init__(
        self, service: Service, heads: Heads, sequencer: Sequencer, log: Log, index: Index, ids: Ids, bytes_max: int
    ) -> None:
        self._service = service
        self._heads = heads
        self._sequencer = sequencer
        self._log = log
        self._index = index
        self._ids = ids
        self._bytes_max = bytes_max  # of a page

    async def event(self, id: bytes) -> Event | None:
        """See ``Backend.event``."""
        found = (await self._ids.find([id])).get(id)
        if found is None:
            return None
        commit = (found.partition, found.first)
        item = await self._service.get(commit_key(*commit))
        if item is None:
            raise self._missing(found.partition, found.first)
        position = found.position
        if position is None:
            position = (await self._ids.positions([commit]))[commit] + found.ordinal
        taken = Taken(item, position - found.ordinal, found.ordinal, found.ordinal)
        return (await read(self._service, [taken]))[0]

    async def read_all(self, query: Query | None, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        """See ``Backend.read_all``. What is known to be settled already is read without asking for the head."""
        end = None if before is None else before - 1
        known = self._sequencer.position
        if end is not None and end <= known:
            return await self._page(query, after, end, limit, backwards)
        if not backwards and after < known:
            page = await self._page(query, after, known, limit, backwards)
            if page.more:
                return page
            rest = await self._page(query, known, await self._upto(end), limit - len(page.events), backwards)
            return Page(page.events + rest.events, rest.last, rest.more)
        return await self._page(query, after, await self._upto(end), limit, backwards)

    async def _upto(self, end: int | None) -> int:
        head = await self._sequencer.head()
        return head if end is None else min(head, end)

    async def _page(self, query: Query | None, after: int, upto: int, limit: int, backwards: bool) -> Page:
        if query is not None and not query.items:
            query = None
        async with aclosing(self._spots(query, after, upto, limit, backwards)) as spots:
            events = await self._fill(spots, query, limit)
        if len(events) >= limit or size_of(events) >= self._bytes_max:
            return Page(events, events[-1].position if events else after, True)
        return Page(events, after if backwards else max(after, upto), False)

    async def _spots(
        self, query: Query | None, after: int, upto: int, limit: int, backwards: bool
    ) -> AsyncGenerator[Spot, None]:
        """Events that match, or may match where the log does not tell their types and tags, in order."""
        if limit == 0 or upto <= after:
            return
        edge = after
        if query is not None:
            edge = min(upto, max(after, await self._index.built(upto)))
        rows = self._log.rows_backwards if backwards else self._log.rows
        indexed = query is not None and edge > after
        if query is not None and indexed and not backwards:
            async for spot in self._indexed(query, after, edge, backwards):
                yield spot
        async for placed in rows(edge, upto, limit if query is None else None):
            for spot in _matching(query, placed, edge, upto, backwards):
                yield spot
        if query is not None and indexed and backwards:
            async for spot in self._indexed(query, after, edge, backwards):
                yield spot

    async def _indexed(self, query: Query, after: int, upto: int, backwards: bool) -> AsyncGenerator[Spot, None]:
        """What the index finds by each item's leading key, without what the row shows not to match."""
        present: Placed | None = None
        events: Outlines | None = None
        async for spot in self._index.spots(query, after, upto, backwards):
            if spot.placed is not present:
                present = spot.placed
                events = outlines(present.row, present.position)
            if events is None or query.matches(events.at(spot.position)):
                yield spot

    async def _fill(self, spots: AsyncIterator[Spot], query: Query | None, limit: int) -> list[Event]:
        """Fetch events until there are enough of them, or of their bytes."""
        events: list[Event] = []
        waiting: list[Spot] = []
        size, expected = 0, 0.0
        async for spot in spots:
            waiting.append(spot)
            expected += spot.placed.row.size / spot.placed.row.count
            full = len(events) + len(waiting) >= limit or size + expected >= self._bytes_max
            if full or len(waiting) == FETCHED_MAX:
                size += await self._fetch(waiting, query, events)
                waiting, expected = [], 0.0
                if len(events) >= limit or size >= self._bytes_max:
                    break
        if waiting:
            size += await self._fetch(waiting, query, events)
        return _cut(events, self._bytes_max) if size >= self._bytes_max else events

    async def _fetch(self, spots: Sequence[Spot], query: Query | None, events: list[Event]) -> int:
        found = await self._log.events(spots)
        kept = [event for event in found if query is None or query.matches(event)]
        events += kept
        return size_of(kept)

    async def check(self, writes: Sequence[Write], upto: int) -> None:
        """Whether the conditions of the writes hold in the log up to a position. ``AppendConditionFailed``."""
        for write in writes:
            condition = write.condition
            if condition is None or condition.after >= upto:
                continue
            page = await self._page(condition.fail_if_match, condition.after, upto, 1, backwards=False)
            if page.events:
                raise AppendConditionFailed(condition, page.events[0].position)

    async def read_stream(self, stream: str, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        """See ``Backend.read_stream``.

        First the head, then the commits up to it: they were all there before the query began, so it can miss none.
        """
        head = (await self._heads.read([stream]))[stream]
        first = await self.first_version(stream, head)
        low = max(after + 1, first)
        high = head.version if before is None else min(head.version, before - 1)
        if low > high or limit == 0:
            return Page([], first if backwards else max(high, after), low <= high)
        taken = await self._commits(stream, low, high, limit, backwards)
        events = await read(self._service, taken)
        if backwards:
            events.sort(key=lambda event: -event.version)
        events = _cut(events[:limit], self._bytes_max)
        if not events:
            raise self._missing(stream_partition(stream), low)
        last = events[-1].version
        return Page(events, last, last > low if backwards else last < high)

    async def first_version(self, stream: str, head: Head) -> int:
        """The first version that a reader may see now."""
        first = head.first_version()
        if head.policy.max_age is None or first > head.version:
            return first
        oldest_us = self._service.clock.now_us() - head.policy.max_age // timedelta(microseconds=1)
        async with aclosing(self._stored(stream, first, head.version, False, None)) as items:
            async for item in items:
                if item["t"] >= oldest_us:
                    return max(first, first_of(item))
        return head.version + 1

    async def _commits(self, stream: str, low: int, high: int, limit: int, backwards: bool) -> list[Taken]:
        """The commits that hold these versions, as many as are wanted, with their positions."""
        found: list[tuple[Item, int, int]] = []
        count, size = 0, 0
        async with aclosing(self._stored(stream, low, high, backwards, limit)) as items:
            async for item in items:
                start, end = _window(item, low, high, limit - count, self._bytes_max - size, backwards)
                found.append((item, start, end))
                count += end - start + 1
                size += sum(bytes_ for _, bytes_ in sizes_of(item))
                if count >= limit or size >= self._bytes_max:
                    break
        missing = [(item["p"], first_of(item)) for item, _, _ in found if "g" not in item]
        positions = await self._ids.positions(missing) if missing else {}
        return [
            Taken(item, item["g"] if "g" in item else positions[item["p"], first_of(item)], start, end)
            for item, start, end in found
        ]

    async def _stored(
        self, stream: str, low: int, high: int, backwards: bool, limit: int | None
    ) -> AsyncGenerator[Item, None]:
        """The items of the commits that hold these versions."""
        partition = stream_partition(stream)
        start, end = commit_key(partition, low)[1], place_key(partition, high)[1]
        fetched = None if limit is None else min(2 * limit + 1, 1_000)  # a commit may be followed by its place
        reached = low if not backwards else high + 1
        async for item in self._service.query(partition, start, end, limit=fetched, backwards=backwards):
            if item["k"].endswith("#P"):
                continue
            first = first_of(item)
            if not backwards and reached == low and first > low:
                yield await self._covering(partition, low)
            yield item
            reached = first if backwards else first + item["n"]
        if (reached > low) if backwards else (reached == low):
            yield await self._covering(partition, low)

    async def _covering(self, partition: str, version: int) -> Item:
        """The commit that holds a version which is not its first."""
        low, high = commit_key(partition, 0)[1], commit_key(partition, version)[1]
        async for item in self._service.query(partition, low, high, limit=2, backwards=True):
            if not item["k"].endswith("#P") and first_of(item) + item["n"] > version:
                return item
        raise self._missing(partition, version)

    def _missing(self, partition: str, version: int) -> CorruptStore:
        return CorruptStore(
            self._service.target.shown,
            f"version {version} of {partition!r} is missing",
            "Was the table restored? Restore it to another moment.",
        )


def _matching(query: Query | None, placed: Placed, after: int, upto: int, backwards: bool) -> Iterator[Spot]:
    """The events of a row that match, or may match."""
    positions = range(max(after + 1, placed.position), min(upto, placed.last) + 1)
    events = None if query is None else outlines(placed.row, placed.position)
    for position in reversed(positions) if backwards else positions:
        if query is None or events is None or query.matches(events.at(position)):
            yield Spot(position, placed)


def _window(item: Item, low: int, high: int, limit: int, bytes_left: int, backwards: bool) -> tuple[int, int]:
    """The numbers of a commit's first and last event that a page takes: by versions, number, and bytes of parts."""
    first = first_of(item)
    start, end = max(low - first, 0), min(high - first, item["n"] - 1)
    start, end = (max(start, end - limit + 1), end) if backwards else (start, min(end, start + limit - 1))
    parts: list[tuple[int, int, int]] = []
    number = 0
    for count, size in sizes_of(item):
        parts.append((number, number + count - 1, size))
        number += count
    for begin, last, size in reversed(parts) if backwards else parts:
        if last < start or begin > end:
            continue
        bytes_left -= size
        if bytes_left <= 0:
            return (max(start, begin), end) if backwards else (start, min(end, last))
    return start, end


def _cut(events: list[Event], bytes_max: int) -> list[Event]:
    """As many of the first as make a page; at least one."""
    size = 0
    for number, event in enumerate(events):
        size += len(event.raw_data) + len(event.raw_metadata)
        if size >= bytes_max:
            return events[: number + 1]
    return events
