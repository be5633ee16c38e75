"""Verification beside writers, over disorder that no file can show, and its buckets."""

from __future__ import annotations

import uuid

import pytest

import headwater as hw
from headwater.backend import Page
from headwater.backends.memory import MemoryBackend
from headwater.lifecycle import buckets, verify
from headwater.lifecycle.buckets import Buckets, key_of
from headwater.queries import Query
from headwater.store import EventStore
from headwater.testing.loans import CASE, loan


class Interrupted(MemoryBackend):
    """A store that somebody appends to after every page that is read."""

    async def read_all(self, query: Query | None, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        page = await super().read_all(query, after, before, min(limit, 5), backwards)
        store = EventStore(self)
        await store.append(CASE, loan(1))
        await store.append(f"loan-{uuid.uuid4()}", loan(1))
        return page


class Reversing(MemoryBackend):
    """A store that breaks promise 4: two events change places."""

    async def read_all(self, query: Query | None, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        page = await super().read_all(query, after, before, limit, backwards)
        if len(page.events) > 10:
            page.events[3], page.events[4] = page.events[4], page.events[3]
        return page


async def test_others_may_append_meanwhile() -> None:
    store = EventStore(Interrupted())
    await store.append(CASE, loan())
    verified = await verify(store)
    assert (verified.found, verified.events, verified.streams) == (0, 26, 1)
    assert await store.head() > 36


async def test_an_order_that_is_not_the_positions_is_found() -> None:
    store = EventStore(Reversing())
    await store.append(CASE, loan())
    verified = await verify(store)
    assert ("position", 4) in {(each.kind, each.position) for each in verified.findings}
    assert ("version", 5) in {(each.kind, each.position) for each in verified.findings}


async def test_deleted_limited_and_streamless_events_are_sound() -> None:
    store = EventStore(MemoryBackend())
    await store.append("loan-1", loan())
    await store.append("loan-2", loan())
    await store.append(None, [hw.NewEvent("RateSet", {"percent": 4.5}, tags=["rate:base"])])
    await store.delete_stream("loan-1")
    await store.set_policy("loan-2", max_count=3)
    await store.tombstone_stream("loan-never")
    await store.append("loan-1", loan())
    assert (await verify(store)).found == 0


def test_buckets_bring_all_of_a_key_back_together_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "_RECORDS_PER_BUCKET", 100)
    monkeypatch.setattr(buckets, "_MEMORY_BYTES", 1024)
    names = [f"loan-{number}" for number in range(1000)]
    with Buckets(5000) as dealt:
        for version in range(1, 6):
            for name in names:
                dealt.put(key_of(name), version, -version)
        seen: dict[bytes, list[tuple[int, int]]] = {}
        count = 0
        for records in dealt.each():
            here: dict[bytes, list[tuple[int, int]]] = {}
            for key, first, second in records:
                here.setdefault(key, []).append((first, second))
            assert not here.keys() & seen.keys()
            seen |= here
            count += 1
    assert count == 50
    assert seen == {key_of(name): [(version, -version) for version in range(1, 6)] for name in names}
