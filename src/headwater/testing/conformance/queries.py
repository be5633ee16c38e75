"""Queries over the log: items OR; inside an item types, streams and categories OR, tags AND (dcb.events)."""

from __future__ import annotations

from typing import Any

import pytest

from headwater.events import NewEvent
from headwater.limits import Limits
from headwater.queries import Query, QueryItem
from headwater.store import Append, EventStore
from headwater.testing.conformance.fixtures import OpenStore, StorePromises, needs, whole_log

EVENTS: list[tuple[str | None, str, list[str]]] = [
    ("loan-1", "A_SUBMITTED", ["applicant:112", "channel:web"]),
    ("loan-1", "A_ACCEPTED", ["applicant:112", "officer:10862"]),
    ("loan-2", "A_SUBMITTED", ["applicant:113", "channel:web"]),
    ("offer-1", "O_CREATED", ["applicant:112", "officer:10862"]),
    (None, "RateChanged", ["product:car"]),
    ("offer-1", "O_SENT", []),
    ("loan-2", "A_DECLINED", ["applicant:113", "officer:10862"]),
    ("loan", "A_SUBMITTED", ["applicant:1"]),
    (None, "A_SUBMITTED", ["applicant:112", "channel:phone"]),
    ("offer-2", "O_CREATED", ["applicant:113", "officer:10862", "channel:web"]),
]
"""Ten events: stream, type, tags."""

MATCHES: list[tuple[list[dict[str, list[str]]], list[int]]] = [
    ([{"types": ["A_SUBMITTED"]}], [1, 3, 8, 9]),
    ([{"types": ["A_SUBMITTED", "O_SENT"]}], [1, 3, 6, 8, 9]),
    ([{"tags": ["applicant:112"]}], [1, 2, 4, 9]),
    ([{"tags": ["applicant:112", "officer:10862"]}], [2, 4]),
    ([{"tags": ["officer:10862", "applicant:112"]}], [2, 4]),
    ([{"tags": ["applicant:112", "applicant:113"]}], []),
    ([{"tags": ["applicant:11"]}], []),
    ([{"tags": ["applicant:1"]}], [8]),
    ([{"types": ["A_SUBMITTED"], "tags": ["applicant:112"]}], [1, 9]),
    ([{"types": ["A_SUBMITTED", "O_CREATED"], "tags": ["applicant:112"]}], [1, 4, 9]),
    ([{"categories": ["offer"]}], [4, 6, 10]),
    ([{"categories": ["loan", "offer"]}], [1, 2, 3, 4, 6, 7, 8, 10]),
    ([{"categories": ["loan"], "types": ["A_SUBMITTED"]}], [1, 3, 8]),
    ([{"categories": ["offer"], "tags": ["channel:web"]}], [10]),
    ([{"streams": ["loan-1"]}], [1, 2]),
    ([{"streams": ["loan-2", "offer-1"]}], [3, 4, 6, 7]),
    ([{"streams": ["loan-1"], "types": ["A_ACCEPTED"]}], [2]),
    ([{"streams": ["loan-1", "offer-1"], "tags": ["officer:10862"]}], [2, 4]),
    ([{"streams": ["loan-1", "offer-1"], "categories": ["offer"]}], [4, 6]),
    ([{"streams": ["loan-1"], "categories": ["offer"]}], []),
    ([{"types": ["A_SUBMITTED"], "tags": ["channel:web"], "categories": ["loan"], "streams": ["loan-2"]}], [3]),
    ([{"types": ["O_SENT"]}, {"tags": ["applicant:113"]}], [3, 6, 7, 10]),
    ([{"types": ["A_SUBMITTED"]}, {"tags": ["applicant:112"]}, {"streams": ["loan-1"]}], [1, 2, 3, 4, 8, 9]),
    ([{"types": ["RateChanged"]}], [5]),
    ([{"tags": ["product:car"]}, {"types": ["NeverHappened"]}], [5]),
    ([{"types": ["NeverHappened"]}], []),
    ([{"types": ["a_submitted"]}], []),
    ([{"streams": ["loan-9"]}], []),
]
"""Items of a query, and the numbers of the events above that it matches."""


async def _told(store: EventStore) -> list[int]:
    """Append the ten events, each alone; their positions."""
    return [(await store.append(stream, NewEvent(kind, {}, tags=tags))).position for stream, kind, tags in EVENTS]


def _query(items: list[dict[str, list[str]]]) -> Query:
    return Query([QueryItem(**item) for item in items])


class QueryPromises(StorePromises):
    """``read_all`` with a query."""

    @pytest.mark.parametrize(("items", "numbers"), MATCHES)
    async def test_matches(self, store: EventStore, items: list[dict[str, list[str]]], numbers: list[int]) -> None:
        """A query delivers the events that match one of its items, each once, in order of position, both ways."""
        positions = await _told(store)
        expected = [positions[number - 1] for number in numbers]
        assert [event.position for event in await whole_log(store, query=_query(items))] == expected
        if store.capabilities.read_backwards:
            backwards = await whole_log(store, query=_query(items), backwards=True)
            assert [event.position for event in backwards] == expected[::-1]

    async def test_all(self, store: EventStore) -> None:
        """``Query.all()`` and no query at all deliver the whole log."""
        positions = await _told(store)
        assert [event.position for event in await whole_log(store)] == positions
        assert await whole_log(store, query=Query.all()) == await whole_log(store)

    async def test_bounds_of_a_query(self, store: EventStore) -> None:
        """A query is read between exclusive positions, up to the limit, in both directions."""
        positions = await _told(store)
        submitted = Query([QueryItem(types=["A_SUBMITTED"])])
        cases: list[tuple[dict[str, Any], list[int]]] = [
            ({"after": positions[0]}, [3, 8, 9]),
            ({"after": positions[8]}, []),
            ({"before": positions[7]}, [1, 3]),
            ({"after": positions[0], "before": positions[8]}, [3, 8]),
            ({"limit": 2}, [1, 3]),
            ({"limit": 0}, []),
            ({"after": positions[0], "limit": 1}, [3]),
        ]
        for bounds, numbers in cases:
            found = await whole_log(store, query=submitted, **bounds)
            assert [event.position for event in found] == [positions[number - 1] for number in numbers]
        if store.capabilities.read_backwards:
            latest = await whole_log(store, query=submitted, backwards=True, limit=2)
            assert [event.position for event in latest] == [positions[8], positions[7]]
            middle = await whole_log(store, query=submitted, backwards=True, before=positions[8], after=positions[0])
            assert [event.position for event in middle] == [positions[7], positions[2]]

    @pytest.mark.parametrize("page", [1, 3])
    async def test_a_query_over_pages(self, open_store: OpenStore, page: int) -> None:
        """However many pages it takes, a query delivers each match once, also where items overlap."""
        async with open_store(Limits(page_events_max=page)) as store:
            positions = await _told(store)
            for items, numbers in MATCHES[::4]:
                found = await whole_log(store, query=_query(items))
                assert [event.position for event in found] == [positions[number - 1] for number in numbers]

    async def test_rare_matches_in_a_long_log(self, store: EventStore) -> None:
        """A match is found however much lies between."""
        rare = NewEvent("A_DECLINED", {}, tags=["applicant:7"])
        filler = [NewEvent("A_SUBMITTED", {}, tags=["applicant:8"]) for _ in range(1500)]
        await store.append("loan-8", filler)
        done = await store.append("loan-7", rare)
        await store.append("loan-9", [NewEvent("A_SUBMITTED", {}, tags=["applicant:8"]) for _ in range(1500)])
        for item in (QueryItem(types=["A_DECLINED"]), QueryItem(tags=["applicant:7"]), QueryItem(streams=["loan-7"])):
            found = await whole_log(store, query=Query([item]))
            assert [event.position for event in found] == [done.position]
        assert len(await whole_log(store, query=Query([QueryItem(tags=["applicant:8"])]))) == 3000

    async def test_tags_of_one_event_are_a_set(self, store: EventStore) -> None:
        """A tag given twice counts once."""
        await store.append("loan-1", NewEvent("A_SUBMITTED", {}, tags=["b", "a", "b"]))
        (event,) = await whole_log(store, query=Query([QueryItem(tags=["a", "b"])]))
        assert sorted(event.tags) == ["a", "b"]

    async def test_several_streams_in_one_append(self, store: EventStore) -> None:
        """Events that came in one append over several streams are found one by one."""
        needs(store, "atomic_streams")
        await store.append_all(
            [
                Append("loan-1", [NewEvent("A_SUBMITTED", {}, tags=["a"]), NewEvent("A_ACCEPTED", {}, tags=["b"])]),
                Append("loan-2", [NewEvent("A_SUBMITTED", {}, tags=["b"])]),
            ]
        )
        assert [event.stream for event in await whole_log(store, query=Query([QueryItem(tags=["b"])]))] == [
            "loan-1",
            "loan-2",
        ]
