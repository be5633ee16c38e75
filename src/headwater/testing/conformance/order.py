"""The whole log: one order for all, the head, waiting for news, and following it."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from typing import Any

import pytest

from headwater.backend import Checkpoint
from headwater.errors import ForeignCheckpoint
from headwater.limits import Limits
from headwater.store import EventStore
from headwater.testing.conformance.fixtures import OpenStore, StorePromises, needs, whole_log
from headwater.testing.loans import CASE, loan


class OrderPromises(StorePromises):
    """``read_all``, ``head`` and ``wait``."""

    async def test_empty_store(self, store: EventStore) -> None:
        """An empty store has head 0 and nothing to read."""
        assert await store.head() == 0
        assert await whole_log(store) == []

    async def test_log_is_in_order(self, store: EventStore) -> None:
        """The log has every event once; positions rise strictly, and in a stream with its versions."""
        for count in range(1, 8):
            await store.append(f"loan-{count % 3}", loan(count))
        log = await whole_log(store)
        assert len(log) == 28
        assert all(after.position > before.position for before, after in itertools.pairwise(log))
        for name in ("loan-0", "loan-1", "loan-2"):
            versions = [event.version for event in log if event.stream == name]
            assert versions == list(range(1, len(versions) + 1))

    async def test_first_appended_first_read(self, store: EventStore) -> None:
        """An append that began after another was acknowledged stands behind it."""
        positions = [(await store.append(f"loan-{number}", loan(1))).position for number in range(20)]
        assert positions == sorted(positions)
        assert [event.position for event in await whole_log(store)] == positions

    async def test_gapless_where_promised(self, store: EventStore) -> None:
        """Where the capabilities say so, positions are 1, 2, 3 … also after refused appends."""
        needs(store, "gapless_positions")
        for version in range(10):
            await store.append(CASE, loan(2), expected=2 * version)
            with pytest.raises(Exception, match="expected"):
                await store.append(CASE, loan(2), expected=2 * version)
        assert [event.position for event in await whole_log(store)] == list(range(1, 21))

    async def test_bounds_in_the_log(self, store: EventStore) -> None:
        """The log is read between exclusive positions, up to the limit, in both directions."""
        for number in range(10):
            await store.append(f"loan-{number}", loan(1))
        all_of_it = await whole_log(store)
        at = [0, *(event.position for event in all_of_it)]
        cases: list[tuple[dict[str, Any], slice]] = [
            ({"after": at[3]}, slice(3, None)),
            ({"after": at[10]}, slice(0, 0)),
            ({"after": at[10] + 1000}, slice(0, 0)),
            ({"before": at[4]}, slice(0, 3)),
            ({"before": at[1]}, slice(0, 0)),
            ({"before": at[10] + 1000}, slice(0, None)),
            ({"after": at[3], "before": at[7]}, slice(3, 6)),
            ({"after": at[3], "before": at[7], "limit": 2}, slice(3, 5)),
            ({"limit": 0}, slice(0, 0)),
            ({"limit": 10}, slice(0, 10)),
        ]
        for bounds, part in cases:
            assert await whole_log(store, **bounds) == all_of_it[part], bounds
        if store.capabilities.read_backwards:
            for bounds, part in cases[:7]:
                assert await whole_log(store, backwards=True, **bounds) == all_of_it[part][::-1], bounds
            assert await whole_log(store, backwards=True, limit=3) == all_of_it[:-4:-1]

    @pytest.mark.parametrize("page", [1, 13])
    async def test_the_log_over_pages(self, open_store: OpenStore, page: int) -> None:
        """However many pages it takes, each event is delivered once, in both directions."""
        async with open_store(Limits(page_events_max=page)) as store:
            for number in range(40):
                await store.append(f"loan-{number % 7}", loan(1))
            log = await whole_log(store)
            assert len({event.id for event in log}) == len(log) == 40
            if store.capabilities.read_backwards:
                assert await whole_log(store, backwards=True) == log[::-1]

    async def test_head_is_the_last_position(self, store: EventStore) -> None:
        """The head reaches the last event; a refused append or a retry leaves nothing to read beyond it."""
        events = loan(3)
        done = await store.append(CASE, events)
        assert await store.head() >= done.position
        head = await store.head()
        await store.append(CASE, events)
        with pytest.raises(Exception, match="expected"):
            await store.append(CASE, loan(1), expected=77)
        assert await whole_log(store, after=head) == []

    async def test_wait_returns_at_once(self, store: EventStore) -> None:
        """Waiting for news that is there already returns True."""
        await store.append(CASE, loan(1))
        assert await store.wait(0, timeout=30.0) is True

    async def test_wait_times_out(self, store: EventStore) -> None:
        """Waiting for news that does not come returns False."""
        await store.append(CASE, loan(1))
        assert await store.wait(await store.head(), timeout=0.05) is False

    async def test_wait_is_woken(self, store: EventStore) -> None:
        """Who waits at the head is woken by the next append."""
        await store.append(CASE, loan(1))
        head = await store.head()
        waiting = asyncio.ensure_future(store.wait(head, timeout=30.0))
        await asyncio.sleep(0)
        done = await store.append(CASE, loan(1))
        assert await waiting is True
        assert await store.head() >= done.position

    async def test_wait_is_woken_by_another_opening(self, open_store: OpenStore) -> None:
        """Who waits at the head is woken by an append through another opening of the store."""
        async with open_store() as reader, open_store() as writer:
            needs(reader, "shared")
            waiting = asyncio.ensure_future(reader.wait(0, timeout=30.0))
            await asyncio.sleep(0)
            done = await writer.append(CASE, loan(1))
            assert await waiting is True
            assert [event.position for event in await whole_log(reader)] == [done.position]

    async def test_reading_on_from_a_checkpoint(self, store: EventStore) -> None:
        """``after`` may be a checkpoint of this store; one of another store, or ahead of this one, is refused."""
        done = await store.append(CASE, loan(2))
        mine = Checkpoint(store.identity, done.position - 1)
        assert [event.position for event in await whole_log(store, after=mine)] == [done.position]
        foreign = Checkpoint(str(uuid.uuid4()), 1)
        ahead = Checkpoint(store.identity, await store.head() + 1)
        for wrong in (foreign, ahead):
            with pytest.raises(ForeignCheckpoint) as refused:
                await whole_log(store, after=wrong)
            assert refused.value.checkpoint == wrong
