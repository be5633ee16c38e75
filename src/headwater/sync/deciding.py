"""Repositories and boundaries for code without asyncio."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

from headwater import deciders as asynchronous
from headwater.deciders import Aggregate, Commands, Decider, DecisionModel, Executed, Fact, Loaded, SnapshotEvery
from headwater.deciders.commands import CONFLICTS
from headwater.deciders.multistream import store_of
from headwater.subscriptions import Retry
from headwater.sync.store import EventStore
from headwater.typed import Codec

__all__ = ["Boundary", "Repository", "execute_all"]

C = TypeVar("C")
S = TypeVar("S")


class Repository(Generic[C, S]):
    """``headwater.Repository`` without ``await``, over a store of ``headwater.sync``. Its arguments are the same."""

    def __init__(
        self,
        store: EventStore,
        codec: Codec,
        rule: Decider[C, S] | type[Aggregate],
        *,
        snapshots: SnapshotEvery | None = None,
        retry: Retry = CONFLICTS,
        commands: Commands | None = None,
    ) -> None:
        self._repository: asynchronous.Repository[C, S] = asynchronous.Repository(
            store._store, codec, rule, snapshots=snapshots, retry=retry, commands=commands
        )
        self._caller = store._caller

    def load(self, stream: str) -> Loaded[S]:
        """The state of a stream. As ``headwater.Repository.load``."""
        return self._caller.run(self._repository.load(stream))

    def execute(
        self,
        stream: str,
        command: C,
        *,
        id: uuid.UUID | str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        occurred_at: datetime | None = None,
    ) -> Executed:
        """Load the stream's state, decide, and append what was decided. As ``headwater.Repository.execute``."""
        executing = self._repository.execute(
            stream, command, id=id, metadata=metadata, tags=tags, occurred_at=occurred_at
        )
        return self._caller.run(executing)

    def settle(self) -> None:
        """Wait for snapshots that are being saved in the background."""
        self._caller.run(self._repository.settle())


class Boundary:
    """``headwater.Boundary`` without ``await``, over a store of ``headwater.sync``. Its arguments are the same."""

    def __init__(self, store: EventStore, codec: Codec, *, retry: Retry = CONFLICTS) -> None:
        self._boundary = asynchronous.Boundary(store._store, codec, retry=retry)
        self._caller = store._caller

    def model(self, facts: Mapping[str, Fact[Any]]) -> DecisionModel:
        """Read what the facts' queries find, and fold it. As ``headwater.Boundary.model``."""
        return self._caller.run(self._boundary.model(facts))

    def execute(
        self,
        facts: Mapping[str, Fact[Any]],
        decide: Callable[[Any], Iterable[object]],
        *,
        stream: str | None = None,
        id: uuid.UUID | str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        occurred_at: datetime | None = None,
    ) -> Executed:
        """Read the facts, decide, and append what was decided if they still hold. As ``headwater.Boundary.execute``."""
        executing = self._boundary.execute(
            facts, decide, stream=stream, id=id, metadata=metadata, tags=tags, occurred_at=occurred_at
        )
        return self._caller.run(executing)


def execute_all(
    streams: Mapping[str, tuple[Repository[Any, Any], str]],
    decide: Callable[[Mapping[str, Any]], Mapping[str, Iterable[object]] | None],
    *,
    id: uuid.UUID | str | None = None,
    metadata: Mapping[str, Any] | None = None,
    tags: Iterable[str] = (),
    retry: Retry = CONFLICTS,
) -> dict[str, Executed]:
    """Decide once on several streams, and append to all of them or none. As ``headwater.execute_all``."""
    theirs = {name: (repository._repository, stream) for name, (repository, stream) in streams.items()}
    store_of(theirs)  # raises where there are none
    repository, _ = next(iter(streams.values()))
    return repository._caller.run(
        asynchronous.execute_all(theirs, decide, id=id, metadata=metadata, tags=tags, retry=retry)
    )
