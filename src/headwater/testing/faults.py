"""A store with the faults of the world, for tests of your own code: conflicts, answers that are lost, a store away."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence

from headwater.backend import Appended, Write
from headwater.connect import open_store
from headwater.errors import OutcomeUnknown, StoreUnavailable
from headwater.events import NewEvent
from headwater.store import EventStore

__all__ = ["FaultyStore", "faulty_store"]


class FaultyStore(EventStore):
    """A store in memory whose next appends go wrong as you say, one for each call, in that order; the rest is as usual.

    ``store = await faulty_store()``, ``store.lose_next_answer(stored=True)``, then let your code append.
    """

    def __init__(self, store: EventStore) -> None:
        super().__init__(store._backend, store.limits)
        self._faults: list[Callable[[Sequence[Write]], Awaitable[list[Appended]]]] = []
        self._append = store._backend.append
        store._backend.append = self._faulty  # type: ignore[method-assign]

    async def _faulty(self, writes: Sequence[Write]) -> list[Appended]:
        if self._faults:
            return await self._faults.pop(0)(writes)
        return await self._append(writes)

    def before_next_append(self, stream: str, events: Sequence[NewEvent] | NewEvent) -> None:
        """Somebody else appends these between your loading and your append."""

        async def raced(writes: Sequence[Write]) -> list[Appended]:
            waiting, self._faults = self._faults, []  # the other one has no faults of yours
            try:
                await self.append(stream, events)
            finally:
                self._faults = waiting
            return await self._append(writes)

        self._faults.append(raced)

    def lose_next_answer(self, *, stored: bool) -> None:
        """The next append raises ``OutcomeUnknown``; it was ``stored``, or it was not."""

        async def lost(writes: Sequence[Write]) -> list[Appended]:
            if stored:
                await self._append(writes)
            ids = [uuid.UUID(bytes=record.id) for write in writes for record in write.records]
            raise OutcomeUnknown(ids, "the connection broke during an append, as the test wanted")

        self._faults.append(lost)

    def refuse_next_append(self) -> None:
        """The next append raises ``StoreUnavailable``, and nothing is stored."""

        async def away(writes: Sequence[Write]) -> list[Appended]:
            raise StoreUnavailable("the store is away, as the test wanted", "Try again.")

        self._faults.append(away)


async def faulty_store() -> FaultyStore:
    """A new one, in memory."""
    return FaultyStore(await open_store("memory:"))
