"""What the store knows of its streams: one by name, all in order, and the categories."""

from __future__ import annotations

import pytest

from headwater.backend import StreamPolicy
from headwater.limits import Limits
from headwater.store import EventStore
from headwater.testing.conformance.fixtures import OpenStore, StorePromises, history
from headwater.testing.loans import CASE, loan


async def _names(store: EventStore, **which: str) -> list[str]:
    return [info.name async for info in store.streams(**which)]


class StreamListing(StorePromises):
    """``stream``, ``streams`` and ``categories``."""

    async def test_stream(self, store: EventStore) -> None:
        """A stream's information tells its name, category, versions, moments and state."""
        await store.append(CASE, loan(3))
        await store.append(CASE, loan(2))
        info = await store.stream(CASE)
        events = await history(store, CASE)
        assert info is not None
        assert (info.name, info.category, info.version, info.first_version) == (CASE, "loan", 5, 1)
        assert (info.created_at, info.last_at) == (events[0].recorded_at, events[-1].recorded_at)
        assert (info.state, info.deleted, info.policy) == ("open", False, StreamPolicy())

    async def test_info_of_an_unknown_stream(self, store: EventStore) -> None:
        """A stream that was never written is None."""
        assert await store.stream("loan-0") is None

    async def test_streams_in_order_of_name(self, store: EventStore) -> None:
        """Streams are listed by name, in the order of its UTF-8 bytes."""
        names = [
            "loan-2",
            "loan-10",
            "Offer-1",
            "offer",
            "loan-1",
            "ärger-1",
            "loan-\U0001f600",
            "loan-\uffee",
            "loan_",
        ]
        for name in names:
            await store.append(name, loan(1))
        assert await _names(store) == sorted(names, key=str.encode)

    async def test_streams_by_category_and_prefix(self, store: EventStore) -> None:
        """Streams are found by category (the text before the first dash), by prefix, and after a name."""
        for name in ("loan-1", "loan-1-a", "loan", "loans-1", "offer-1", "loan%-1", "loan_-1", "l"):
            await store.append(name, loan(1))
        assert await _names(store, category="loan") == ["loan", "loan-1", "loan-1-a"]
        assert await _names(store, prefix="loan-1") == ["loan-1", "loan-1-a"]
        assert await _names(store, prefix="loan%") == ["loan%-1"]
        assert await _names(store, prefix="loan_") == ["loan_-1"]
        assert await _names(store, category="loan", prefix="loan-1-") == ["loan-1-a"]
        assert await _names(store, after="loan_-1") == ["loans-1", "offer-1"]
        assert await _names(store, category="loan", after="loan") == ["loan-1", "loan-1-a"]
        assert await _names(store, category="lo") == []
        assert await _names(store, prefix="x") == []

    @pytest.mark.parametrize("page", [1, 2, 5])
    async def test_streams_over_pages(self, open_store: OpenStore, page: int) -> None:
        """However many pages it takes, each stream is listed once."""
        async with open_store(Limits(page_events_max=page)) as store:
            names = [f"loan-{number:02}" for number in range(5)]
            for name in names:
                await store.append(name, loan(1))
            assert await _names(store) == names

    async def test_categories(self, store: EventStore) -> None:
        """Categories are listed by name, each with its number of streams."""
        for name in ("offer-1", "loan-1", "loan-2", "Loan-1", "loan", "ä-1"):
            await store.append(name, loan(2))
        await store.append(None, loan(1))
        assert list((await store.categories()).items()) == [("Loan", 1), ("loan", 3), ("offer", 1), ("ä", 1)]
