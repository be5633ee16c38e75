"""Promise 3: sending the same events again returns the first result and writes nothing, now or in a year."""

from __future__ import annotations

import uuid

import pytest

from headwater.errors import DuplicateEvent
from headwater.events import NewEvent
from headwater.queries import NO_STREAM, AppendCondition, Query, QueryItem
from headwater.store import Append, EventStore
from headwater.testing.conformance.fixtures import OpenStore, StorePromises, history, needs, told, whole_log
from headwater.testing.loans import CASE, loan


class IdempotencyPromises(StorePromises):
    """Retries, and what only looks like one."""

    async def test_retry_returns_the_first_result(self, store: EventStore) -> None:
        """The same events again: the first result, marked as a duplicate, and nothing written."""
        events = loan(3)
        first = await store.append(CASE, events)
        again = await store.append(CASE, events)
        assert (again.version, again.position, again.duplicate) == (first.version, first.position, True)
        assert len(await whole_log(store)) == 3

    async def test_retry_with_a_stale_expectation(self, store: EventStore) -> None:
        """A retry succeeds although the version it expects is by now stale."""
        events = loan(2)
        first = await store.append(CASE, events, expected=NO_STREAM)
        await store.append(CASE, loan(5, skip=2), expected=2)
        again = await store.append(CASE, events, expected=NO_STREAM)
        assert (again.version, again.position, again.duplicate) == (2, first.position, True)
        assert (await store.append(CASE, events, expected=99)).duplicate
        assert len(await history(store, CASE)) == 7

    async def test_retry_of_a_conditional_append(self, store: EventStore) -> None:
        """A retry succeeds although its condition fails by now, by the very events of the first attempt."""
        needs(store, "append_condition")
        condition = AppendCondition(Query([QueryItem(types=["A_SUBMITTED"])]))
        events = loan(1)
        first = await store.append(CASE, events, condition=condition)
        again = await store.append(CASE, events, condition=condition)
        assert (again.position, again.duplicate) == (first.position, True)

    async def test_retry_after_deletion(self, store: EventStore) -> None:
        """A retry succeeds although its stream was deleted, or tombstoned, since."""
        needs(store, "stream_policies")
        events = loan(2)
        first = await store.append(CASE, events)
        await store.delete_stream(CASE)
        assert (await store.append(CASE, events, expected=NO_STREAM)).duplicate
        assert await history(store, CASE) == []
        await store.tombstone_stream(CASE)
        again = await store.append(CASE, events)
        assert (again.version, again.position, again.duplicate) == (2, first.position, True)

    async def test_retry_of_several_streams(self, store: EventStore) -> None:
        """A retry of ``append_all`` returns the first result of each part."""
        needs(store, "atomic_streams")
        appends = [Append(CASE, loan(2), NO_STREAM), Append("offer-1", loan(1), NO_STREAM), Append(None, loan(2))]
        first = await store.append_all(appends)
        await store.append("offer-1", loan(3))
        again = await store.append_all(appends)
        assert [(each.version, each.position) for each in again] == [(each.version, each.position) for each in first]
        assert all(each.duplicate for each in again)
        assert len(await whole_log(store)) == 8

    async def test_retry_is_known_by_ids_alone(self, store: EventStore) -> None:
        """What makes a retry is the ids: the first attempt's data stays, whatever the second brings."""
        id = uuid.uuid4()
        await store.append(CASE, [NewEvent("A_SUBMITTED", {"amount": 20000}, id=id)])
        assert (await store.append(CASE, [NewEvent("A_SUBMITTED", {"amount": 1}, id=id)])).duplicate
        assert [event.data for event in await history(store, CASE)] == [{"amount": 20000}]

    async def test_retry_of_a_part(self, store: EventStore) -> None:
        """The first events of an earlier append are stored in this stream and order: that is a retry too."""
        events = loan(4)
        await store.append(CASE, events)
        again = await store.append(CASE, events[:2])
        assert (again.version, again.duplicate) == (2, True)

    async def test_partly_stored(self, store: EventStore) -> None:
        """Some ids stored and some new: ``DuplicateEvent`` names the stored ones, and nothing is written."""
        events = loan(3)
        await store.append(CASE, events[:2])
        with pytest.raises(DuplicateEvent) as refused:
            await store.append(CASE, events)
        assert set(refused.value.ids) == {event.id for event in events[:2]}
        assert len(await whole_log(store)) == 2

    async def test_stored_in_another_stream(self, store: EventStore) -> None:
        """An id is unique in the whole store: the same event in another stream is refused."""
        events = loan(2)
        await store.append(CASE, events)
        for stream in ("loan-173694", None):
            with pytest.raises(DuplicateEvent):
                await store.append(stream, events)
        assert len(await whole_log(store)) == 2

    async def test_stored_in_another_order(self, store: EventStore) -> None:
        """The same ids turned round, or with one left out between, are not a retry."""
        events = loan(3)
        await store.append(CASE, events)
        for wrong in (events[::-1], [events[0], events[2]]):
            with pytest.raises(DuplicateEvent):
                await store.append(CASE, wrong)
        assert len(await whole_log(store)) == 3

    async def test_one_part_stored(self, store: EventStore) -> None:
        """``append_all`` with one part stored and one new is refused as a whole."""
        needs(store, "atomic_streams")
        stored, new = loan(2), loan(2)
        await store.append(CASE, stored)
        with pytest.raises(DuplicateEvent):
            await store.append_all([Append(CASE, stored), Append("offer-1", new)])
        assert await store.stream("offer-1") is None

    async def test_same_id_twice_in_one_append(self, store: EventStore) -> None:
        """The same id twice within one append is refused, over its streams too."""
        event = loan(1)[0]
        with pytest.raises(DuplicateEvent) as refused:
            await store.append(CASE, [event, event])
        assert refused.value.ids == (event.id,)
        if store.capabilities.atomic_streams:
            with pytest.raises(DuplicateEvent):
                await store.append_all([Append(CASE, [event]), Append("offer-1", [event])])
        assert await whole_log(store) == []

    async def test_retry_through_another_opening(self, open_store: OpenStore) -> None:
        """A retry is known after the store was closed and opened again: by another program, in a year."""
        events = loan(3)
        async with open_store() as first:
            needs(first, "durable")
            done = await first.append(CASE, events, expected=NO_STREAM)
        async with open_store() as second:
            again = await second.append(CASE, events, expected=NO_STREAM)
            assert (again.version, again.position, again.duplicate) == (done.version, done.position, True)
            assert [version for _, version, _ in told(await whole_log(second))] == [1, 2, 3]
