"""Promise 6: reading holds a page of events, however long the log is."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import AsyncIterator

from headwater.events import Event, NewEvent
from headwater.limits import Limits
from headwater.queries import Query, QueryItem
from headwater.store import EventStore
from headwater.testing.conformance.fixtures import OpenStore, StorePromises
from headwater.testing.loans import CASE

EVENTS, LETTER = 20_000, "Geachte heer, mevrouw, " * 20

PAGE = Limits(page_events_max=200)


async def _growth(events: AsyncIterator[Event]) -> tuple[int, int]:
    """Read to the end, keeping nothing: the number of events, and the most bytes that Python held for it at a time."""
    gc.collect()
    tracemalloc.start()
    try:
        count = 0
        async for _ in events:
            count += 1
        return count, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def _filled(store: EventStore) -> EventStore:
    for start in range(0, EVENTS, 5_000):
        await store.append(CASE, [NewEvent("LetterSent", [number, LETTER]) for number in range(start, start + 5_000)])
    return store


async def _with_scans(store: EventStore) -> int:
    """Many small events, and then large ones: whoever guesses a page's size by the last page's is far off."""
    await store.append(CASE, [NewEvent("NoteTaken", [number, ""]) for number in range(3_000)])
    for number in range(20):
        scans = [NewEvent("LetterScanned", [number, "%" * 400_000]) for _ in range(10)]
        await store.append(CASE, scans)
    return 3_200


class MemoryPromises(StorePromises):
    """Bounded memory."""

    async def test_long_read(self, open_store: OpenStore) -> None:
        """Reading 20,000 events (10 MB) takes under 2 MB at a time: a stream, the log, and a query."""
        async with open_store(PAGE) as store:
            await _filled(store)
            query = Query([QueryItem(types=["LetterSent"])])
            for reading in (store.read(CASE), store.read_all(), store.read_all(query=query)):
                count, most = await _growth(reading)
                assert count == EVENTS
                assert most < 2_000_000, f"{most:,} bytes"

    async def test_small_then_large(self, open_store: OpenStore) -> None:
        """Small events, then 80 MB in large ones: a page of 2 MB holds about that much, not its number of events."""
        async with open_store(Limits(page_bytes_max=2_000_000)) as store:
            events = await _with_scans(store)
            query = Query([QueryItem(types=["NoteTaken", "LetterScanned"])])
            readings = (store.read(CASE), store.read_all(), store.read_all(query=query), store.read_all(backwards=True))
            for reading in readings:
                count, most = await _growth(reading)
                assert count == events
                assert most < 40_000_000, f"{most:,} bytes"  # threads that follow a log in the background count too
