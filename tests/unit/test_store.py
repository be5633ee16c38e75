"""What the store itself does, over whatever backend: pages, and what it asks for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

import headwater as hw
from headwater.backend import Page
from headwater.backends.memory import MemoryBackend
from headwater.store import EventStore
from headwater.testing.loans import CASE, loan


class Asked(MemoryBackend):
    """A memory backend that notes how many events each page was asked to hold."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    async def read_stream(self, stream: str, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        self.asked.append(limit)
        return await super().read_stream(stream, after, before, limit, backwards)


async def _store(events: list[hw.NewEvent], **limits: Any) -> tuple[EventStore, Asked]:
    backend = Asked()
    store = EventStore(backend, hw.Limits(**limits))
    await store.append(CASE, events)
    return store, backend


async def test_pages_are_read_on_demand() -> None:
    store, backend = await _store(loan(500))
    events = store.read(CASE)
    assert backend.asked == []
    await anext(events)
    assert len(backend.asked) == 1


async def test_pages_are_no_larger_than_the_limit() -> None:
    store, backend = await _store(loan(500), page_events_max=70)
    assert len([event async for event in store.read(CASE)]) == 500
    assert max(backend.asked) == 70


async def test_pages_shrink_where_events_are_large() -> None:
    """After a page of large events the next holds fewer of them, one at least."""
    letters = [hw.NewEvent("LetterSent", "x" * 10_000) for _ in range(300)]
    store, backend = await _store(letters, page_bytes_max=50_000)
    assert len([event async for event in store.read(CASE)]) == 300
    assert set(backend.asked[1:]) == {4}
    store, backend = await _store(letters, page_bytes_max=5_000)
    assert len([event async for event in store.read(CASE)]) == 300
    assert set(backend.asked[1:]) == {1}


async def test_no_more_is_asked_than_is_wanted() -> None:
    store, backend = await _store(loan(500))
    assert len([event async for event in store.read(CASE, limit=7)]) == 7
    assert backend.asked == [7]
    assert [event async for event in store.read(CASE, limit=0)] == []
    assert backend.asked == [7]


async def test_stopping_early_closes_the_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever closes a reader closes what it reads from, at once and not when memory is cleaned up."""
    closed = []
    store, _ = await _store(loan(5))
    original = store._reading._pages

    async def watched(*given: Any) -> AsyncGenerator[list[hw.Event], None]:
        try:
            async for page in original(*given):
                yield page
        finally:
            closed.append(True)

    monkeypatch.setattr(store._reading, "_pages", watched)
    for events in (store.read(CASE), store.read_all()):
        await anext(events)
        await events.aclose()  # type: ignore[attr-defined]  # iterators of the store are generators
    assert closed == [True, True]


async def test_one_event_alone_in_append_all() -> None:
    store, _ = await _store(loan(1))
    (done,) = await store.append_all([hw.Append(CASE, loan(1), 1)])
    assert done.version == 2


async def test_checkpoint_in_words() -> None:
    store, _ = await _store(loan(1))
    assert str(await store.checkpoints.save("offers", 1)) == f"{store.identity}@1"
