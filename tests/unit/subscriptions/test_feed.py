"""A feed: pages of the log for ever, one read ahead, whatever becomes of a reading."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

import headwater as hw
from headwater.backend import Page
from headwater.queries import Query
from headwater.subscriptions import Feed
from headwater.testing.loans import CASE, loan

SMALL = hw.Limits(page_events_max=10)


@pytest.fixture
async def store() -> AsyncIterator[hw.EventStore]:
    async with hw.connect("memory:", limits=SMALL) as opened:
        await opened.append(CASE, loan(35))
        yield opened


@pytest.fixture
async def feed(store: hw.EventStore) -> AsyncIterator[Feed]:
    """Of a store of 35 events, in pages of 10."""
    feed = Feed(store._backend, SMALL, None, 0)
    yield feed
    await feed.close()


class Breaks:
    """A reading that the store refuses when it is told to."""

    def __init__(self, store: hw.EventStore) -> None:
        self.broken = False
        self.readings = 0
        self._read_all = store._backend.read_all
        store._backend.read_all = self.read_all  # type: ignore[method-assign]

    async def read_all(self, query: Query | None, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        self.readings += 1
        await asyncio.sleep(0)
        if self.broken:
            raise hw.StoreUnavailable("the store is away", "Wait.")
        return await self._read_all(query, after, before, limit, backwards)


async def settled() -> None:
    """Let the page that is read ahead come."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_page_is_read_ahead(store: hw.EventStore, feed: Feed) -> None:
    reading = Breaks(store)
    for expected in (2, 3, 4, 4):
        await feed.page()
        await settled()
        assert reading.readings == expected


async def test_a_feed_that_broke_goes_on_where_it_was(store: hw.EventStore, feed: Feed) -> None:
    """Also where it was the page read ahead that failed: nothing is left out, nothing comes twice."""
    reading = Breaks(store)
    versions: list[int] = []
    for turn in range(12):
        reading.broken = turn % 3 == 1
        try:
            page = await feed.page()
        except hw.StoreUnavailable:
            continue
        versions += [event.version for event in page.events]
        await settled()
        if not page.more:
            break
    assert versions == list(range(1, 36))


async def test_a_cancelled_wait_loses_no_page(store: hw.EventStore, feed: Feed) -> None:
    """Whoever gives up waiting for a page, at any moment, and asks again gets that very page."""
    versions: list[int] = []
    Breaks(store)
    for steps in [0, 1, 2, 3, 4, 5, 0, 1, 2] * 10:
        asking = asyncio.create_task(feed.page())
        for _ in range(steps):
            await asyncio.sleep(0)
        asking.cancel()
        try:
            page = await asking
        except asyncio.CancelledError:
            continue
        versions += [event.version for event in page.events]
    assert versions == list(range(1, 36))


async def test_a_closed_feed_leaves_no_task(store: hw.EventStore) -> None:
    tasks = asyncio.all_tasks()
    for steps in range(6):
        feed = Feed(store._backend, SMALL, None, 0)
        await feed.page()
        for _ in range(steps):
            await asyncio.sleep(0)
        await feed.close()
        assert asyncio.all_tasks() == tasks


async def test_marks_are_at_the_right_places(store: hw.EventStore) -> None:
    """``CaughtUp`` behind the last event that was there, ``FellBehind`` before the first of more than a page."""
    async with aclosing(store.subscribe(marks=True)) as events, asyncio.timeout(20):
        first = [await anext(events) for _ in range(36)]
        assert first[-1] == hw.CaughtUp(35)
        await store.append(CASE, loan(25))
        second = [await anext(events) for _ in range(27)]
    assert second[0] == hw.FellBehind(35)
    assert second[-1] == hw.CaughtUp(60)
    assert [each.version for each in second[1:-1] if isinstance(each, hw.Event)] == list(range(36, 61))


async def test_the_error_of_a_reading_ends_a_subscription(store: hw.EventStore) -> None:
    """It may be begun again behind the last event that was seen."""
    reading, seen = Breaks(store), 0

    async def follow() -> None:
        nonlocal seen
        async for event in store.subscribe():
            assert isinstance(event, hw.Event)
            seen = event.position
            reading.broken = seen == 20

    with pytest.raises(hw.StoreUnavailable):
        await follow()
    assert 20 <= seen <= 30
    reading.broken = False
    async with aclosing(store.subscribe(after=seen)) as events:
        event = await anext(events)
    assert isinstance(event, hw.Event)
    assert event.position == seen + 1
