"""What hides events from a stream's readers: policies, deletion, tombstones. The log itself shows everything."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from headwater.backend import StreamPolicy
from headwater.errors import StreamDeleted, WrongExpectedVersion
from headwater.queries import ANY, NO_STREAM, STREAM_EXISTS, Query, QueryItem
from headwater.store import EventStore
from headwater.testing.conformance.fixtures import OpenStore, StorePromises, history, needs, whole_log
from headwater.testing.loans import CASE, loan


async def _versions(store: EventStore, stream: str = CASE, *, backwards: bool = False) -> list[int]:
    return [event.version for event in await history(store, stream, backwards=backwards)]


async def _first(store: EventStore) -> int:
    info = await store.stream(CASE)
    assert info is not None
    return info.first_version


class LifecyclePromises(StorePromises):
    """``set_policy``, ``delete_stream`` and ``tombstone_stream``."""

    async def test_truncate_before(self, store: EventStore) -> None:
        """Events below ``truncate_before`` are hidden from the stream's readers, in both directions."""
        needs(store, "stream_policies")
        await store.append(CASE, loan(10))
        await store.set_policy(CASE, truncate_before=8)
        assert await _versions(store) == [8, 9, 10]
        assert await _first(store) == 8
        assert [event.version for event in await history(store, CASE, after=2, limit=2)] == [8, 9]
        if store.capabilities.read_backwards:
            assert await _versions(store, backwards=True) == [10, 9, 8]

    async def test_truncate_before_the_end(self, store: EventStore) -> None:
        """A ``truncate_before`` beyond the end hides all there is; later events from there on are seen."""
        needs(store, "stream_policies")
        await store.append(CASE, loan(3))
        await store.set_policy(CASE, truncate_before=5)
        assert await _versions(store) == []
        await store.append(CASE, loan(3), expected=3)
        assert await _versions(store) == [5, 6]

    async def test_max_count(self, store: EventStore) -> None:
        """With ``max_count``, the last so many are seen, and it moves on with the stream."""
        needs(store, "stream_policies")
        await store.append(CASE, loan(5))
        await store.set_policy(CASE, max_count=2)
        assert await _versions(store) == [4, 5]
        await store.append(CASE, loan(1))
        assert await _versions(store) == [5, 6]
        assert await _first(store) == 5
        await store.set_policy(CASE, max_count=99)
        assert await _versions(store) == [1, 2, 3, 4, 5, 6]

    async def test_max_age(self, store: EventStore) -> None:
        """With ``max_age``, events recorded longer ago are hidden."""
        needs(store, "stream_policies")
        await store.append(CASE, loan(3))
        await store.set_policy(CASE, max_age=timedelta(hours=1))
        assert await _versions(store) == [1, 2, 3]
        await store.set_policy(CASE, max_age=timedelta(microseconds=1))
        while await _versions(store):  # until the store's clock has moved on by a microsecond
            await asyncio.sleep(0)
        assert await _first(store) == 4

    async def test_strictest_rule_wins(self, store: EventStore) -> None:
        """Of several rules the one that hides most counts."""
        needs(store, "stream_policies")
        await store.append(CASE, loan(10))
        for truncate_before, max_count, first in ((4, 3, 8), (9, 5, 9)):
            await store.set_policy(CASE, truncate_before=truncate_before, max_count=max_count)
            assert await _first(store) == first
            assert (await _versions(store))[0] == first

    async def test_policy_is_replaced(self, store: EventStore) -> None:
        """A policy replaces the earlier one; without any rule everything is seen again, as nothing was removed."""
        needs(store, "stream_policies")
        await store.append(CASE, loan(4))
        await store.set_policy(CASE, truncate_before=3, max_count=1, max_age=timedelta(days=30))
        info = await store.stream(CASE)
        assert info is not None
        assert info.policy == StreamPolicy(3, timedelta(days=30), 1)
        await store.set_policy(CASE)
        info = await store.stream(CASE)
        assert info is not None
        assert info.policy == StreamPolicy()
        assert await _versions(store) == [1, 2, 3, 4]

    async def test_policy_of_no_stream(self, store: EventStore) -> None:
        """A policy needs a stream that exists."""
        needs(store, "stream_policies")
        with pytest.raises(WrongExpectedVersion) as refused:
            await store.set_policy(CASE, max_count=1)
        assert (refused.value.stream, refused.value.actual) == (CASE, 0)
        assert await store.stream(CASE) is None

    async def test_log_shows_everything(self, store: EventStore) -> None:
        """Whatever is hidden from a stream's readers: the log, queries and ``event`` show it."""
        needs(store, "stream_policies")
        for name in ("loan-1", "loan-2", "loan-3"):
            await store.append(name, loan(2, case=name))
        before = await whole_log(store)
        await store.set_policy("loan-1", max_count=1)
        await store.delete_stream("loan-2")
        await store.tombstone_stream("loan-3")
        assert await whole_log(store) == before
        assert await store.event(before[-1].id) == before[-1]
        for name in ("loan-1", "loan-2", "loan-3"):
            assert len(await whole_log(store, query=Query([QueryItem(streams=[name])]))) == 2
        assert await store.categories() == {"loan": 3}

    async def test_delete(self, store: EventStore) -> None:
        """A deleted stream shows its readers nothing, and says so."""
        needs(store, "stream_policies")
        await store.append(CASE, loan(3))
        await store.delete_stream(CASE)
        assert await _versions(store) == []
        info = await store.stream(CASE)
        assert info is not None
        assert (info.state, info.deleted, info.version, info.first_version) == ("deleted", True, 3, 4)

    @pytest.mark.parametrize("expected", [ANY, NO_STREAM, 3])
    async def test_append_after_delete(self, store: EventStore, expected: object) -> None:
        """An append to a deleted stream opens it again and goes on with the versions; what was deleted stays hidden."""
        needs(store, "stream_policies")
        await store.append(CASE, loan(3))
        await store.delete_stream(CASE)
        assert (await store.append(CASE, loan(2), expected=expected)).version == 5  # type: ignore[arg-type]  # parametrized
        assert await _versions(store) == [4, 5]
        info = await store.stream(CASE)
        assert info is not None
        assert (info.state, info.version, info.first_version) == ("open", 5, 4)

    async def test_delete_with_an_expectation(self, store: EventStore) -> None:
        """A deletion may expect a version; where it does not fit, nothing is hidden."""
        needs(store, "stream_policies")
        await store.append(CASE, loan(3))
        for expected in (2, NO_STREAM, 4):
            for remove in (store.delete_stream, store.tombstone_stream):
                with pytest.raises(WrongExpectedVersion) as refused:
                    await remove(CASE, expected=expected)
                assert (refused.value.expected, refused.value.actual) == (expected, 3)
        assert await _versions(store) == [1, 2, 3]
        await store.delete_stream(CASE, expected=3)
        assert await _versions(store) == []

    async def test_delete_of_no_stream(self, store: EventStore) -> None:
        """A stream that was never written can't be deleted."""
        needs(store, "stream_policies")
        with pytest.raises(WrongExpectedVersion) as refused:
            await store.delete_stream(CASE)
        assert (refused.value.expected, refused.value.actual) == (STREAM_EXISTS, 0)

    async def test_delete_twice(self, store: EventStore) -> None:
        """Deleting a deleted stream changes nothing."""
        needs(store, "stream_policies")
        await store.append(CASE, loan(3))
        await store.delete_stream(CASE)
        await store.delete_stream(CASE)
        await store.append(CASE, loan(1))
        await store.delete_stream(CASE)
        await store.append(CASE, loan(1))
        assert await _versions(store) == [5]

    async def test_tombstone(self, store: EventStore) -> None:
        """A tombstoned stream shows nothing and takes nothing: no append, no deletion, no policy."""
        needs(store, "stream_policies")
        await store.append(CASE, loan(3))
        await store.tombstone_stream(CASE)
        assert await _versions(store) == []
        info = await store.stream(CASE)
        assert info is not None
        assert (info.state, info.version, info.first_version) == ("tombstoned", 3, 4)
        for forbidden in (
            store.append(CASE, loan(1)),
            store.delete_stream(CASE),
            store.tombstone_stream(CASE),
            store.set_policy(CASE, max_count=1),
        ):
            with pytest.raises(StreamDeleted):
                await forbidden

    async def test_tombstone_an_unused_name(self, store: EventStore) -> None:
        """A name that was never used may be tombstoned, and is refused from then on."""
        needs(store, "stream_policies")
        await store.tombstone_stream(CASE, expected=NO_STREAM)
        with pytest.raises(StreamDeleted):
            await store.append(CASE, loan(1))
        info = await store.stream(CASE)
        assert info is not None
        assert (info.state, info.version, info.first_version) == ("tombstoned", 0, 1)
        assert [each.name async for each in store.streams()] == [CASE]

    async def test_tombstone_a_deleted_stream(self, store: EventStore) -> None:
        """A deleted stream may be tombstoned afterwards."""
        needs(store, "stream_policies")
        await store.append(CASE, loan(1))
        await store.delete_stream(CASE)
        await store.tombstone_stream(CASE)
        with pytest.raises(StreamDeleted):
            await store.append(CASE, loan(1))

    async def test_lifecycle_is_durable(self, open_store: OpenStore) -> None:
        """Policies, deletions and tombstones are still there when the store is opened again."""
        async with open_store() as first:
            needs(first, "durable", "stream_policies")
            for name in ("loan-1", "loan-2", "loan-3"):
                await first.append(name, loan(3, case=name))
            await first.set_policy("loan-1", max_count=1)
            await first.delete_stream("loan-2")
            await first.tombstone_stream("loan-3")
        async with open_store() as second:
            assert [await _versions(second, name) for name in ("loan-1", "loan-2", "loan-3")] == [[3], [], []]
            assert [info.state async for info in second.streams()] == ["open", "deleted", "tombstoned"]

    async def test_others_are_untouched(self, store: EventStore) -> None:
        """What is done to one stream leaves its neighbours alone."""
        needs(store, "stream_policies")
        for name in ("loan-1", "loan-11", "loan"):
            await store.append(name, loan(2))
        await store.tombstone_stream("loan-1")
        assert [await _versions(store, name) for name in ("loan-11", "loan")] == [[1, 2], [1, 2]]
