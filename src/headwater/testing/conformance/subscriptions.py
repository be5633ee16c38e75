"""Following the log: what is there, then what comes, each event once and in order (promises 4 and 6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import pytest

from headwater.backend import Checkpoint
from headwater.errors import ForeignCheckpoint, InvalidQuery
from headwater.events import Event, NewEvent
from headwater.queries import Query, QueryItem
from headwater.store import EventStore
from headwater.subscriptions import CaughtUp, FellBehind, Mark
from headwater.testing.conformance.fixtures import StorePromises, whole_log
from headwater.testing.consuming import Reads, RollBack, append_in_vain, patience
from headwater.testing.loans import CASE, loan

WRITERS, ROUNDS = 16, 12
LAST = "W_Nabellen incomplete dossiers"


async def _taken(events: AsyncGenerator[Event | Mark, None], count: int) -> list[Event | Mark]:
    """The next so many."""
    async with patience():
        return [await anext(events) for _ in range(count)]


async def _write(store: EventStore, number: int, roll_back: RollBack | None) -> None:
    for count in range(ROUNDS):
        await store.append(CASE if count % 2 else f"loan-{number}", loan(1 + count % 3, skip=count))
        if count % 4 == 0:
            await append_in_vain(store, CASE if count % 8 else f"loan-{number}", roll_back)


async def _until(events: AsyncIterator[Event | Mark], last: NewEvent) -> list[Event]:
    """What a subscription gives up to this event."""
    seen: list[Event] = []
    async for event in events:
        assert isinstance(event, Event)
        seen.append(event)
        if event.id == last.id:
            break
    return seen


class SubscriptionPromises(StorePromises):
    """``subscribe``."""

    async def test_catch_up_then_live(self, live: EventStore) -> None:
        """A subscription gives the events that are there, then each new one."""
        await live.append(CASE, loan(5))
        async with aclosing(live.subscribe()) as events:
            assert [event.version for event in await _taken(events, 5) if isinstance(event, Event)] == [1, 2, 3, 4, 5]
            for version in (6, 7, 8):
                waiting = asyncio.create_task(_taken(events, 1))
                await asyncio.sleep(0.01)
                await live.append(CASE, loan(1))
                (event,) = await waiting
                assert isinstance(event, Event)
                assert event.version == version

    async def test_subscription_under_load(self, live: EventStore, roll_back: RollBack | None) -> None:
        """While 16 writers append, are refused and roll back, subscriptions give each event once and in order."""
        offers = Query([QueryItem(types=["O_CREATED", "O_SENT", LAST])])
        last = NewEvent(LAST, {})
        async with aclosing(live.subscribe()) as every, aclosing(live.subscribe(query=offers)) as some:
            following = [asyncio.create_task(_until(each, last)) for each in (every, some)]
            await asyncio.gather(*[_write(live, number, roll_back) for number in range(WRITERS)])
            await live.append(CASE, last)
            async with patience():
                seen, matching = await asyncio.gather(*following)
        log = await whole_log(live)
        assert [event.position for event in seen] == [event.position for event in log]
        assert [event.id for event in matching] == [event.id for event in log if offers.matches(event)]

    async def test_subscription_after_a_position(self, live: EventStore) -> None:
        """``after`` is exclusive: a position, a checkpoint, or the head for new events only."""
        await live.append(CASE, loan(6))
        fourth = (await whole_log(live))[3]
        for after in (fourth.position, Checkpoint(live.identity, fourth.position)):
            async with aclosing(live.subscribe(after=after)) as events:
                assert [event.version for event in await _taken(events, 2) if isinstance(event, Event)] == [5, 6]
        async with aclosing(live.subscribe(after=await live.head())) as events:
            await live.append(CASE, loan(1))
            (event,) = await _taken(events, 1)
            assert isinstance(event, Event)
            assert event.version == 7

    async def test_marks(self, live: EventStore) -> None:
        """With ``marks``, a subscription says when it has caught up, and when it fell behind again."""
        async with aclosing(live.subscribe(marks=True)) as events:
            assert await _taken(events, 1) == [CaughtUp(0)]
            await live.append(CASE, loan(2))
            assert [type(each) for each in await _taken(events, 2)] == [Event, Event]
            for _ in range(5):
                await live.append(CASE, loan(1_000))
            kinds = [type(each) for each in await _taken(events, 5_002)]
            assert kinds.count(FellBehind) >= 1
            assert kinds.count(Event) + kinds.count(FellBehind) + kinds.count(CaughtUp) == 5_002
        async with aclosing(live.subscribe(marks=True)) as events:
            read = await _taken(events, 5_003)
        assert [type(each) for each in read[:-1]] == [Event] * 5_002
        assert read[-1] == CaughtUp(await live.head())

    async def test_mark_where_nothing_matches(self, live: EventStore) -> None:
        """A subscription whose query matches nothing still says that it has caught up, and where."""
        await live.append(CASE, loan(4))
        nothing = Query([QueryItem(types=["A_NEVER"])])
        async with aclosing(live.subscribe(query=nothing, marks=True)) as events:
            assert await _taken(events, 1) == [CaughtUp(await live.head())]

    async def test_cancelled_subscription(self, live: EventStore) -> None:
        """A subscription that is cancelled while it waits leaves nothing behind, and the store goes on."""
        before = 0
        for number in range(20):
            following = asyncio.create_task(_until(live.subscribe(), NewEvent(LAST, {})))
            await asyncio.sleep(0.05 if not number else 0.002)
            following.cancel()
            with pytest.raises(asyncio.CancelledError):
                await following
            before = before or len(asyncio.all_tasks())  # a backend may have begun to listen
        async with patience():
            while len(asyncio.all_tasks()) > before:
                await asyncio.sleep(0.01)
        await live.append(CASE, loan(1))
        assert len(await whole_log(live)) == 1

    async def test_slow_reader(self, live: EventStore) -> None:
        """A subscription that nobody reads on holds two pages, however many events wait, and appends go on."""
        for _ in range(10):
            await live.append(CASE, loan(1_000))
        with Reads(live) as reads:
            async with aclosing(live.subscribe()) as events:
                taken = len(await _taken(events, 200))
                for _ in range(20):
                    await live.append("loan-1", loan(1))
                    await asyncio.sleep(0.002)
                assert 0 < reads.events - taken <= 2 * live.limits.page_events_max
                taken += len(await _taken(events, 10_020 - taken))
            assert reads.events == taken

    async def test_subscription_from_elsewhere(self, live: EventStore) -> None:
        """A checkpoint of another store, or from beyond the end of a restored one, is refused."""
        await live.append(CASE, loan(2))
        for foreign in (Checkpoint("another", 1), Checkpoint(live.identity, await live.head() + 1)):
            with pytest.raises(ForeignCheckpoint):
                await anext(live.subscribe(after=foreign))
        with pytest.raises(InvalidQuery):
            await anext(live.subscribe(after=-1))
