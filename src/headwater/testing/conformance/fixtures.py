"""What every test of the suite gets: a new store behind one of its faces, and ways to look at what it holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import pytest_asyncio

from headwater.backend import Backend
from headwater.errors import AppendRefused
from headwater.events import Event
from headwater.limits import Limits
from headwater.store import EventStore
from headwater.testing.consuming import RollBack
from headwater.testing.faces import Face, opened

__all__ = ["OpenStore", "StorePromises", "history", "needs", "refusal", "told", "whole_log"]

OpenStore = Callable[..., AbstractAsyncContextManager[EventStore]]


class StorePromises:
    """The fixtures of the suite. A test class overrides ``store_url``."""

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def store_url(self) -> str:
        """The URL of a store that no other test uses."""
        pytest.fail("give your test class a fixture store_url that returns the URL of a new, empty store")

    @pytest.fixture(params=["async", "sync"])
    def face(self, request: pytest.FixtureRequest) -> Face:
        """Which face of the store the test goes through."""
        face: Face = request.param
        return face

    @pytest.fixture
    def open_store(self, store_url: str, face: Face) -> OpenStore:
        """Opens the test's store (again), with ``limits`` and a ``vault``: ``async with open_store() as store``."""

        def open_store(
            limits: Limits | None = None, vault: str | None = None
        ) -> AbstractAsyncContextManager[EventStore]:
            return opened(store_url, face, limits, vault)

        return open_store

    @pytest_asyncio.fixture
    async def store(self, open_store: OpenStore) -> AsyncIterator[EventStore]:
        """The test's store, open and empty."""
        async with open_store() as store:
            if await store.head() or [info async for info in store.streams()]:
                pytest.fail("the store is not empty: give each test its own, e.g. with {unique} in --store-url")
            yield store

    @pytest.fixture
    def roll_back(self) -> RollBack | None:
        """Appends in a transaction of the caller's and rolls it back. Override it for a backend whose ``capabilities``
        say ``caller_transaction``: no reader may miss an event, or wait for ever, because of what never came."""
        return None

    @pytest_asyncio.fixture
    async def live(self, store_url: str) -> AsyncIterator[EventStore]:
        """The test's store by its asynchronous face, whatever ``face`` says: for what goes on in the background."""
        async with opened(store_url) as store:
            yield store


def needs(store: EventStore | Backend, *capabilities: str) -> None:
    """Skip the test where the backend says that it can't do this."""
    for name in capabilities:
        if not getattr(store.capabilities, name):
            pytest.skip(f"{store.capabilities.backend} says {name}=False in its capabilities")


async def whole_log(store: EventStore, **which: Any) -> list[Event]:
    """The events of the whole log."""
    return [event async for event in store.read_all(**which)]


async def history(store: EventStore, stream: str, **which: Any) -> list[Event]:
    """The events of a stream."""
    return [event async for event in store.read(stream, **which)]


def told(events: list[Event]) -> list[tuple[str | None, int, str]]:
    """What each event tells, short: stream, version, type."""
    return [(event.stream, event.version, event.type) for event in events]


async def refusal(appending: Any) -> AppendRefused | None:
    """The error with which an append was refused; None where it was not."""
    try:
        await appending
    except AppendRefused as refused:
        return refused
    return None
