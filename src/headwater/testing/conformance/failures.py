"""Events that a handler can't handle: tried again, put aside, replayed; their neighbours go on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from headwater.errors import StoreUnavailable
from headwater.events import Event
from headwater.store import EventStore
from headwater.subscriptions import Handler, Parked
from headwater.testing.conformance.fixtures import StorePromises, needs, whole_log
from headwater.testing.consuming import FAST, Seen, caught_up, patience
from headwater.testing.loans import CASE, loan


class FailurePromises(StorePromises):
    """``retry``, ``on_failure``, ``parked``."""

    @pytest.fixture(autouse=True)
    def _parks(self, request: pytest.FixtureRequest) -> None:
        if "live" in request.fixturenames:
            needs(request.getfixturevalue("live"), "records")

    async def test_failures_are_tried_again(self, live: EventStore) -> None:
        """An event that fails is tried again; when it succeeds at last, nothing is parked."""
        await live.append(CASE, loan(10))
        tries: Counter[int] = Counter()

        def fails(event: Event) -> bool:
            tries[event.version] += 1
            return event.version % 4 == 0 and tries[event.version] < 3

        seen = Seen(fails)
        await caught_up(live, live.consumer("retry", seen, retry=FAST))
        assert [event.version for event in seen.events] == list(range(1, 11))
        assert [tries[version] for version in (4, 8, 5)] == [3, 3, 1]
        assert (await live.consumers.info("retry")).parked == 0

    async def test_poison(self, live: EventStore) -> None:
        """An event that always fails is parked, with its error; its neighbours are handled; replayed, it is gone."""
        await live.append(CASE, loan(10))
        await live.append("loan-2", loan(2))
        for batch in (None, 4):
            name, seen = f"poison-{batch}", Seen(lambda event: event.type == "A_ACCEPTED")
            consumer = live.consumer(name, seen if batch is None else _each(seen), batch=batch, retry=FAST, lease=0.2)
            async with consumer:
                await consumer.wait_for(await live.head())
                (parked,) = [each async for each in live.parked(name).all()]
                assert (parked.stream, parked.type, parked.attempts) == (CASE, "A_ACCEPTED", 3)
                assert "no A_ACCEPTED" in parked.error
                assert Counter(seen.positions).keys() == {event.position for event in await whole_log(live)} - {
                    parked.position
                }
                assert await live.parked(name).replay(parked.position) == 1
                await _until_parked(live, name, lambda each: each and each[0].attempts == 4)
                seen.fails = lambda event: False
                await live.parked(name).replay()
                await _until_parked(live, name, lambda each: not each)
            assert seen.positions[-1] == parked.position
            assert (await live.audit(name)).well

    async def test_parked_keys(self, live: EventStore) -> None:
        """With ``park_key``, later events of the key wait behind a parked one, and come in order when it is gone."""
        for version in range(1, 5):
            for number in range(3):
                await live.append(f"loan-{number}", loan(1, skip=version))
        seen = Seen(lambda event: event.stream == "loan-1" and event.version in (2, 4))
        consumer = live.consumer("keys", seen, retry=FAST, on_failure="park_key", lease=0.2)
        async with consumer:
            await consumer.wait_for(await live.head())
            parked = [each async for each in live.parked("keys").all()]
            assert [each.held for each in parked] == [False, True, True]
            assert [e.version for e in seen.events if e.stream == "loan-1"] == [1]
            assert [e.version for e in seen.events if e.stream == "loan-2"] == [1, 2, 3, 4]
            seen.fails = lambda event: event.stream == "loan-1" and event.version == 4
            await live.parked("keys").replay(parked[0].position)
            await _until_parked(live, "keys", lambda each: len(each) == 1 and not each[0].held)
            assert [e.version for e in seen.events if e.stream == "loan-1"] == [1, 2, 3]
            await live.append("loan-1", loan(1))
            await consumer.wait_for(await live.head())
            seen.fails = lambda event: False
            assert await live.parked("keys").drop(parked[2].position) == 1
            await _until_parked(live, "keys", lambda each: not each)
        assert [e.version for e in seen.events if e.stream == "loan-1"] == [1, 2, 3, 5]

    async def test_failure_that_stops(self, live: EventStore) -> None:
        """With ``stop``, the run ends with the handler's error, and goes on at that event next time."""
        await live.append(CASE, loan(6))
        seen = Seen(lambda event: event.version == 4)
        with pytest.raises(ValueError, match="no "):
            await live.consumer("stop", seen, retry=FAST, on_failure="stop").run()
        with pytest.raises(ValueError, match="no "):
            await caught_up(live, live.consumer("stop", seen, retry=FAST, on_failure="stop"))
        assert "ValueError" in (await live.consumers.info("stop")).error
        seen.fails = lambda event: False
        await caught_up(live, live.consumer("stop", seen, on_failure="stop"))
        assert [event.version for event in seen.events] == [1, 2, 3, 4, 5, 6]

    async def test_unavailable_is_waited_out(self, live: EventStore) -> None:
        """What a handler needs is away: nothing is wrong with the event, so it is tried again and never parked."""
        await live.append(CASE, loan(3))
        tries = 0

        async def handler(event: Event) -> None:
            nonlocal tries
            tries += 1
            if tries < 8:
                raise StoreUnavailable("the other database is away", "Wait.")

        await caught_up(live, live.consumer("away", handler, retry=FAST))
        assert tries == 10
        assert (await live.consumers.info("away")).parked == 0


def _each(seen: Seen) -> Handler:
    async def handler(events: list[Event]) -> None:
        for event in events:
            await seen(event)

    return handler


async def _until_parked(store: EventStore, name: str, check: Callable[[list[Parked]], object]) -> None:
    async with patience():
        while not check([each async for each in store.parked(name).all()]):
            await asyncio.sleep(0.01)
