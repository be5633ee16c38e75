"""Reading a stream: bounds, limits, both directions, over many pages."""

from __future__ import annotations

from typing import Any

import pytest

from headwater.limits import Limits
from headwater.store import EventStore
from headwater.testing.conformance.fixtures import OpenStore, StorePromises, history, needs
from headwater.testing.loans import CASE, loan

BOUNDS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, list(range(1, 11))),
    ({"after": 0}, list(range(1, 11))),
    ({"after": 3}, list(range(4, 11))),
    ({"after": 10}, []),
    ({"after": 99}, []),
    ({"before": 4}, [1, 2, 3]),
    ({"before": 1}, []),
    ({"before": 0}, []),
    ({"before": 99}, list(range(1, 11))),
    ({"after": 3, "before": 7}, [4, 5, 6]),
    ({"after": 3, "before": 4}, []),
    ({"after": 7, "before": 3}, []),
    ({"limit": 3}, [1, 2, 3]),
    ({"limit": 0}, []),
    ({"limit": 10}, list(range(1, 11))),
    ({"limit": 11}, list(range(1, 11))),
    ({"after": 3, "limit": 2}, [4, 5]),
    ({"after": 3, "before": 7, "limit": 2}, [4, 5]),
]
"""Arguments, and the versions they give of a stream of ten events: all bounds are exclusive."""

BACKWARDS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, list(range(10, 0, -1))),
    ({"limit": 3}, [10, 9, 8]),
    ({"before": 4}, [3, 2, 1]),
    ({"before": 99}, list(range(10, 0, -1))),
    ({"after": 7}, [10, 9, 8]),
    ({"after": 3, "before": 7}, [6, 5, 4]),
    ({"after": 3, "before": 7, "limit": 1}, [6]),
    ({"after": 10}, []),
    ({"before": 1}, []),
]


class ReadPromises(StorePromises):
    """Reading one stream."""

    @pytest.mark.parametrize(("bounds", "versions"), BOUNDS)
    async def test_bounds(self, store: EventStore, bounds: dict[str, Any], versions: list[int]) -> None:
        """A stream is read in order of version, between exclusive bounds, up to the limit."""
        await store.append(CASE, loan(10))
        assert [event.version for event in await history(store, CASE, **bounds)] == versions

    @pytest.mark.parametrize(("bounds", "versions"), BACKWARDS)
    async def test_backwards(self, store: EventStore, bounds: dict[str, Any], versions: list[int]) -> None:
        """A stream is read backwards between the same bounds, the latest first."""
        needs(store, "read_backwards")
        await store.append(CASE, loan(10))
        assert [event.version for event in await history(store, CASE, backwards=True, **bounds)] == versions

    async def test_only_its_own_events(self, store: EventStore) -> None:
        """A stream has its own events only, however the appends were mixed."""
        names = [f"loan-{number}" for number in range(4)]
        for _ in range(3):
            for name in names:
                await store.append(name, loan(2, case=name))
        for name in names:
            events = await history(store, name)
            assert [event.version for event in events] == [1, 2, 3, 4, 5, 6]
            assert {event.data["case"] for event in events} == {name}

    async def test_unknown_stream(self, store: EventStore) -> None:
        """A stream that was never written has no events, in either direction."""
        await store.append(CASE, loan(1))
        assert await history(store, "loan-0") == []
        if store.capabilities.read_backwards:
            assert await history(store, "loan-0", backwards=True) == []

    @pytest.mark.parametrize("page", [1, 7, 100])
    async def test_many_pages(self, open_store: OpenStore, page: int) -> None:
        """However many pages it takes, a reader gets every event once and in order."""
        async with open_store(Limits(page_events_max=page)) as store:
            given = loan(205)
            await store.append(CASE, given)
            assert [event.id for event in await history(store, CASE)] == [event.id for event in given]
            assert [event.id for event in await history(store, CASE, after=9, limit=150)] == [
                event.id for event in given[9:159]
            ]
            if store.capabilities.read_backwards:
                assert [event.id for event in await history(store, CASE, backwards=True)] == [
                    event.id for event in reversed(given)
                ]

    async def test_stopping_early(self, store: EventStore) -> None:
        """A reader may stop anywhere; the store goes on as before."""
        await store.append(CASE, loan(300))
        seen = []
        async for event in store.read(CASE):
            seen.append(event.version)
            if len(seen) == 5:
                break
        assert seen == [1, 2, 3, 4, 5]
        assert (await store.append(CASE, loan(1), expected=300)).version == 301

    async def test_two_readers_at_a_time(self, store: EventStore) -> None:
        """Two readers of one stream go their own ways."""
        await store.append(CASE, loan(150))
        one, other = store.read(CASE), store.read(CASE, after=100)
        seen = [((await anext(one)).version, (await anext(other)).version) for _ in range(50)]
        assert seen == [(number, 100 + number) for number in range(1, 51)]
        assert [event.version async for event in one] == list(range(51, 151))

    async def test_appending_while_reading(self, store: EventStore) -> None:
        """A reader may append to the stream it reads, as it reads."""
        await store.append(CASE, loan(5))
        async for event in store.read(CASE, limit=5):
            await store.append("offer-1", loan(1, skip=event.version))
        assert [event.version for event in await history(store, "offer-1")] == [1, 2, 3, 4, 5]
