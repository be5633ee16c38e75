"""Reading: pages, many seeks, halving a stream, and a gate that is asked only where it must be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.unit.backends.postgres.conftest import Connection

import headwater as hw
from headwater.backends.postgres.backend import PostgresBackend


@pytest.fixture
async def store(postgres_schema_url: str) -> AsyncIterator[hw.EventStore]:
    async with hw.connect(postgres_schema_url) as store:
        yield store


async def fill(store: hw.EventStore, loans: int) -> None:
    """Some steps of so many applications, of 100 types."""
    for loan in range(loans):
        events = [
            hw.NewEvent(f"W_{(loan + n) % 100}", {"n": n}, tags=[f"applicant:{loan % 9}"]) for n in range(loan % 5 + 1)
        ]
        await store.append(f"loan-{loan}", events)


def wide_query() -> hw.Query:
    return hw.Query([hw.QueryItem(types=[f"W_{n}" for n in range(0, 100, 3)]), hw.QueryItem(tags=["applicant:4"])])


async def test_a_query_of_many_seeks_is_answered_in_windows(
    store: hw.EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.backends.postgres.reader.WINDOW", 7)
    await fill(store, 60)
    query = wide_query()
    every = [event async for event in store.read_all()]
    wanted = [event.position for event in every if query.matches(event)]
    assert 50 < len(wanted) < len(every)
    assert [event.position async for event in store.read_all(query=query)] == wanted
    assert [event.position async for event in store.read_all(query=query, backwards=True)] == wanted[::-1]
    assert [event.position async for event in store.read_all(query=query, limit=11)] == wanted[:11]
    late = [position for position in wanted if 40 < position < 100]
    assert [event.position async for event in store.read_all(query=query, after=40, before=100)] == late
    assert [e.position async for e in store.read_all(query=query, after=40, before=100, backwards=True)] == late[::-1]


async def test_a_query_by_stream_starts_anywhere_in_a_long_stream(store: hw.EventStore) -> None:
    """The index knows versions; positions are found by halving. The streams here are woven into each other."""
    for n in range(30):
        await store.append("loan-1", [hw.NewEvent("W_START", {}) for _ in range(n % 4 + 1)])
        await store.append("loan-2", hw.NewEvent("W_END", {}))
    positions = [event.position async for event in store.read("loan-1")]
    query = hw.Query([hw.QueryItem(streams=["loan-1"])])
    for after in range(0, positions[-1] + 2, 3):
        for before in (after + 1, after + 10, positions[-1] + 1):
            found = [event.position async for event in store.read_all(query=query, after=after, before=before)]
            assert found == [position for position in positions if after < position < before]


async def test_a_condition_by_stream_sees_only_what_came_after(store: hw.EventStore) -> None:
    await store.append("loan-1", [hw.NewEvent("W_START", {}) for _ in range(20)])
    done = await store.append("loan-1", hw.NewEvent("W_END", {}))
    for kinds, after, fails in (((), done.position - 1, True), ((), done.position, False), (["W_START"], 20, False)):
        query = hw.Query([hw.QueryItem(streams=["loan-1"], types=kinds)])
        appending = store.append("loan-2", hw.NewEvent("W_NOTE", {}), condition=hw.AppendCondition(query, after))
        if fails:
            with pytest.raises(hw.AppendConditionFailed) as refused:
                await appending
            assert refused.value.position == done.position
        else:
            await appending


async def test_a_reader_that_is_far_behind_does_not_ask_the_gate(store: hw.EventStore, admin: Connection) -> None:
    backend = store._backend
    assert isinstance(backend, PostgresBackend)
    await fill(store, 40)
    await store.head()
    asked = 0
    horizon = backend._gate.horizon

    async def counted() -> int:
        nonlocal asked
        asked += 1
        return await horizon()

    backend._gate.horizon = counted  # type: ignore[method-assign]
    page = await backend.read_all(None, 0, None, 50, backwards=False)
    assert (len(page.events), page.more, asked) == (50, True, 0)
    rest = await backend.read_all(None, page.last, None, 500, backwards=False)
    assert (rest.more, asked) == (False, 1)
    assert rest.last == await store.head()


async def test_what_a_policy_of_age_hides_is_found_by_halving(
    store: hw.EventStore, admin: Connection, schema: str
) -> None:
    """Old events are put in by hand, as their age is the database's."""
    await store.append("loan-1", [hw.NewEvent("W_START", {}) for _ in range(9)])
    await admin.execute(f"ALTER TABLE {schema}.events DISABLE TRIGGER append_only")
    await admin.execute(f"UPDATE {schema}.events SET recorded_us = recorded_us - 3600000000 WHERE version <= 6")
    await store.set_policy("loan-1", max_age=timedelta(minutes=30))
    info = await store.stream("loan-1")
    assert info is not None
    assert info.first_version == 7
    assert [event.version async for event in store.read("loan-1")] == [7, 8, 9]
    await store.set_policy("loan-1", max_age=timedelta(hours=2))
    assert len([event async for event in store.read("loan-1")]) == 9


async def test_waiting_ends_with_an_append_of_another_process(store: hw.EventStore, postgres_schema_url: str) -> None:
    async with hw.connect(postgres_schema_url) as other:  # shares nothing with the first, as in another process
        waiting = asyncio.create_task(store.wait(await store.head(), timeout=20))
        done = await other.append("loan-1", hw.NewEvent("W_START", {}))
        assert await waiting
        assert await store.head() >= done.position


async def test_streams_by_prefix_up_to_the_last_character(store: hw.EventStore) -> None:
    names = ["loan-1", "loan-12", "loan-2", "loan-\U0010ffff", "loan-\U0010ffffz", "loan-\ud7ff", "loan.x", "zeta"]
    for name in names:
        await store.append(name, hw.NewEvent("W_START", {}))
    for prefix in ("loan-", "loan-1", "loan-\ud7ff", "loan-\U0010ffff", "\U0010ffff", "loan"):
        found = [info.name async for info in store.streams(prefix=prefix)]
        assert found == sorted(name for name in names if name.startswith(prefix))
