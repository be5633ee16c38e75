"""A projection as a consumer's sink: rows and position in one transaction, so that each effect comes exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from headwater.backend import Checkpoint
from headwater.errors import Fenced, ForeignCheckpoint
from headwater.events import Event
from headwater.projections.bookkeeping import Bookkeeping, Part
from headwater.projections.handling import InvalidProjection
from headwater.projections.projection import Projection
from headwater.projections.targets import Target
from headwater.projections.view import Tables, View
from headwater.store import EventStore

__all__ = ["ProjectionSink", "check_known"]


class ProjectionSink:
    """See ``headwater.subscriptions.sinks.Sink``. What the consumer's own checkpoint says does not matter here.

    Several runners may write to one target at once: each transaction locks its part's row and skips what somebody
    else handled meanwhile. ``parts`` is the number of parts that events are dealt to.
    """

    def __init__(
        self,
        projection: Projection,
        tables: Tables,
        target: Target,
        store: EventStore,
        rows: Bookkeeping,
        parts: int,
        moved: asyncio.Event,
    ) -> None:
        self._projection = projection
        self._tables = tables
        self._target = target
        self._store = store
        self._rows = rows
        self._parts = parts
        self._known: dict[int, Part] = {}
        self._moved = moved

    async def start(self, part: int, position: int) -> int:
        """The target's own position. ``ForeignCheckpoint`` where it is not one of this store."""
        found = await asyncio.to_thread(self._load, part)
        await check_known(self._store, found)
        self._known[part] = found
        return found.position

    def _load(self, part: int) -> Part:
        with self._target.transaction() as connection:
            found = self._rows.locked(connection, part)
        if found is None or found.parts != self._parts:
            raise InvalidProjection(
                self._projection.name,
                f"version {self._projection.version} in {self._target.name} has no part {part} of {self._parts}",
                "Was it dropped, or does somebody else run it in another number of partitions? Run one of them.",
            )
        return found

    async def handle(self, part: int, events: Sequence[Event]) -> None:
        """All of the events have their effect and the position is moved, or nothing is."""
        self._known[part] = await asyncio.to_thread(self._handle, self._known[part], events)
        self._moved.set()

    def _handle(self, known: Part, events: Sequence[Event]) -> Part:
        rows = self._rows
        first, last = events[0].position, events[-1].position
        with self._target.transaction() as connection:
            part = rows.locked(connection, known.part, first, last)
            if part is None or part.parts != known.parts or part.position < known.position:
                raise Fenced(self._projection.name, known.part)  # dealt anew, or the target was restored
            if last <= part.position:
                return part  # another runner was here
            inlined = rows.inlined(connection, first, last) if part.inlined else ()
            new = [event for event in events if event.position > part.position]
            view, apply = View(connection, self._tables), self._projection.apply
            for event in new:
                if event.position not in inlined:
                    apply(event, view)
            if inlined:
                rows.take_inlined(connection, first, last)
            moved = part.after(new, new[-1])
            rows.move(connection, moved)
        return moved


async def check_known(store: EventStore, part: Part) -> None:
    """Refuse a position that is not one of this store's present life: ``ForeignCheckpoint``."""
    head = await store.head()
    checkpoint = Checkpoint(store.identity, part.position)
    if part.position > head:
        raise ForeignCheckpoint(checkpoint, store.identity, head)
    if part.last_id:
        async for event in store.read_all(after=part.position - 1, limit=1):
            if event.position == part.position and event.raw_id.hex() == part.last_id:
                return
        raise ForeignCheckpoint(checkpoint, store.identity, head)
