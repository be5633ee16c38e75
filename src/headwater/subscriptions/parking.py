"""Events that a consumer could not handle, put aside with their error for a person to look at and replay."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from headwater.backend import Backend, RecordChange
from headwater.errors import InvalidConsumer, StaleRecord
from headwater.subscriptions.states import Parked, checked_consumer, decoded, encoded, parked_name, parked_prefix

__all__ = ["ParkedEvents", "parked_pages"]

PAGE = 1_000


async def parked_pages(backend: Backend, consumer: str) -> AsyncGenerator[list[tuple[Parked, int]], None]:
    """The parked events of a consumer in order of position, each with its record's revision, page by page."""
    after = ""
    while records := await backend.load_records(parked_prefix(consumer), after, PAGE):
        yield [(decoded(record, Parked), record.revision) for record in records]
        after = records[-1].name


class ParkedEvents:
    """The events that one consumer has put aside. From ``store.parked(name)``."""

    def __init__(self, backend: Backend, consumer: str) -> None:
        self._backend = backend
        self._consumer = checked_consumer(consumer)

    async def all(self) -> AsyncGenerator[Parked, None]:
        """The parked events in order of position."""
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                for parked in page:
                    yield parked

    async def _pages(self) -> AsyncGenerator[list[Parked], None]:
        async with aclosing(parked_pages(self._backend, self._consumer)) as pages:
            async for page in pages:
                yield [parked for parked, _ in page]

    async def replay(self, position: int | None = None) -> int:
        """Ask for the parked event at this position (None: all of them) to be tried again; how many were asked for.

        Whatever member holds their part tries them, in order of position, within some seconds of running.
        """
        return await self._change(position, replay=True)

    async def drop(self, position: int | None = None) -> int:
        """Forget the parked event at this position (None: all of them): it is never handled. How many there were."""
        return await self._change(position, replay=False)

    async def _change(self, position: int | None, *, replay: bool) -> int:
        changed = 0
        async with aclosing(parked_pages(self._backend, self._consumer)) as pages:
            async for page in pages:
                for parked, revision in page:
                    if position in (None, parked.position):
                        value = encoded(msgspec.structs.replace(parked, replay=True)) if replay else None
                        changed += await self._save(parked.position, value, revision)
        if position is not None and not changed:
            raise InvalidConsumer(
                self._consumer,
                f"has no parked event at position {position}",
                "See them: headwater parked list.",
            )
        return changed

    async def _save(self, position: int, value: bytes | None, revision: int) -> bool:
        change = RecordChange(parked_name(self._consumer, position), value, revision)
        try:
            await self._backend.save_records([change])
        except StaleRecord:  # a member has just tried it: leave that as it is
            return False
        return True
