"""Bringing a version up to a position, its parts side by side: one reading of the log, dealt to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from time import monotonic

import msgspec

from headwater.events import Event
from headwater.projections.bookkeeping import Bookkeeping
from headwater.projections.handling import InvalidProjection
from headwater.projections.sink import ProjectionSink
from headwater.projections.targets import Target
from headwater.queries import Query
from headwater.store import EventStore

__all__ = ["Build", "Building", "deal_anew", "settle"]

BATCHES_AHEAD = 2
"""Batches that may wait for a part, so that reading and handling go on side by side in bounded memory."""


class Building(msgspec.Struct, frozen=True):
    """How far a build is."""

    position: int
    upto: int
    """The position where it ends."""
    events: int
    """Handled so far, by this call."""
    seconds: float
    """Since it began."""
    seconds_left: float | None
    """About how long it will take; None until that can be told."""


class Build:
    """One bringing up of a version, to a position that the log is settled up to."""

    def __init__(
        self,
        store: EventStore,
        sink: ProjectionSink,
        parts: int,
        part_of: Callable[[Event, int], int],
        query: Query | None,
        batch: int,
    ) -> None:
        self._store = store
        self._sink = sink
        self._parts = parts
        self._part_of = part_of
        self._query = query
        self._batch = batch

    async def run(self, upto: int, on_progress: Callable[[Building], None] | None) -> None:
        """Handle everything up to the position. A handler's error ends it; what was committed stays."""
        positions = [await self._sink.start(part, 0) for part in range(self._parts)]
        queues: list[asyncio.Queue[list[Event] | None]] = [asyncio.Queue(BATCHES_AHEAD) for _ in positions]
        try:
            async with asyncio.TaskGroup() as group:
                for part, queue in enumerate(queues):
                    group.create_task(self._work(part, queue))
                await self._read(positions, upto, queues, _Clock(min(positions), upto, on_progress))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _work(self, part: int, queue: asyncio.Queue[list[Event] | None]) -> None:
        while (events := await queue.get()) is not None:
            await self._sink.handle(part, events)

    async def _read(
        self, positions: Sequence[int], upto: int, queues: Sequence[asyncio.Queue[list[Event] | None]], clock: _Clock
    ) -> None:
        shares: list[list[Event]] = [[] for _ in queues]
        async for page in self._pages(min(positions), upto):
            for event in page:
                part = self._part_of(event, self._parts)
                if event.position > positions[part]:
                    shares[part].append(event)
            for part, share in enumerate(shares):
                while len(share) >= self._batch:
                    await queues[part].put(share[: self._batch])
                    del share[: self._batch]
            clock.tell(page[-1].position, len(page))
        for queue, share in zip(queues, shares, strict=True):
            if share:
                await queue.put(share)
            await queue.put(None)

    async def _pages(self, after: int, upto: int) -> AsyncIterator[list[Event]]:
        pages = self._store._reading.log_pages(after, upto + 1, self._query, None, False)
        async with aclosing(pages):
            async for page in pages:
                yield page


class _Clock:
    """Tells how far a build is, and from its pace how long it will take."""

    def __init__(self, after: int, upto: int, on_progress: Callable[[Building], None] | None) -> None:
        self._after = after
        self._upto = upto
        self._on_progress = on_progress
        self._began = monotonic()
        self._events = 0

    def tell(self, position: int, events: int) -> None:
        self._events += events
        if self._on_progress is None:
            return
        seconds = monotonic() - self._began
        done = position - self._after
        left = seconds / done * (self._upto - position) if done and seconds > 0.2 else None
        self._on_progress(Building(position, self._upto, self._events, seconds, left))


def settle(target: Target, rows: Bookkeeping, upto: int, last_id: str) -> None:
    """Everything up to the position is handled: let every part say so, where its last own event stood earlier."""
    with target.transaction() as connection:
        for part in rows.all_locked(connection):
            if part.position < upto:
                rows.move(connection, msgspec.structs.replace(part, position=upto, last_id=last_id))


def deal_anew(target: Target, rows: Bookkeeping, name: str, parts: int) -> None:
    """Go on in so many parts. ``InvalidProjection`` where the present ones are not at one position."""
    with target.transaction() as connection:
        present = rows.all_locked(connection)
        if len(present) == parts:
            return
        if len({part.position for part in present}) > 1:
            raise InvalidProjection(
                name,
                f"it is being run in {len(present)} parts, so it can't go on in {parts}",
                "Stop the other runners first, or run it in as many parts.",
            )
        first = present[0]
        digest = sum(part.digest for part in present) & (2**64 - 1)
        rows.deal(connection, parts, first.position, first.last_id, sum(part.count for part in present), digest)
