"""Subscriptions: to a stream, to a made-up one, or to ``$all``. First what is there, then what comes, for ever."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc

from headwater.queries import Query, QueryItem
from headwater.server.following import Following, Stretch
from headwater.server.kurrentdb.filters import Filter
from headwater.server.kurrentdb.recorded import name_of
from headwater.server.kurrentdb.refusals import Refused, stream_deleted
from headwater.server.kurrentdb.rendering import Rendering
from headwater.server.kurrentdb.virtual import Virtual
from headwater.store import EventStore

__all__ = ["Subscribing"]


class Subscribing:
    """Subscriptions to one store."""

    def __init__(self, store: EventStore, following: Following) -> None:
        self._store = store
        self._following = following

    def stream(self, given: Any, virtual: Virtual | None, rendering: Rendering) -> AsyncGenerator[Any, None]:
        """A stream from behind a revision, from its start, or from now on."""
        if virtual is not None:
            return self._made_up(given, virtual, rendering)
        return self._of_stream(given, name_of(given.stream_identifier), rendering)

    async def all(self, given: Any, filter: Filter, rendering: Rendering) -> AsyncGenerator[Any, None]:
        """The log from behind a position, from its start, or from now on; with checkpoints where it is filtered."""
        where = given.WhichOneof("all_option")
        after = await self._store.head() if where == "end" else 0
        if where == "position":
            after = given.position.commit_position
            await self.check_position(after)
        yield rendering.confirmation(str(uuid.uuid4()))
        pace, told = _Pace(), after
        async with aclosing(self._following.stretches(after, filter.query)) as stretches:
            async for stretch in stretches:
                if pace.falls_behind(stretch):
                    yield rendering.fell_behind(position=after)
                for event in stretch.events:
                    if filter.matches(event):
                        yield await rendering.of(event)
                after, catches_up = stretch.upto, pace.catches_up(stretch)
                due = filter.interval and (stretch.upto - told >= filter.interval or catches_up)
                if due and stretch.upto:
                    told = stretch.upto
                    yield rendering.checkpoint(told)
                if catches_up:
                    yield rendering.caught_up(position=stretch.upto)

    async def _of_stream(self, given: Any, stream: str, rendering: Rendering) -> AsyncGenerator[Any, None]:
        info = await self._store.stream(stream)
        if info is not None and info.state == "tombstoned":
            raise stream_deleted(stream)
        where = given.WhichOneof("revision_option")
        head = await self._store.head()  # before reading: what is not read is above it
        version = 0 if info is None or where != "end" else info.version
        if where == "revision":
            version = min(given.revision, (1 << 62) - 1) + 1
        yield rendering.confirmation(str(uuid.uuid4()))
        if where != "end":
            async with aclosing(self._store.read(stream, after=version)) as events:
                async for event in events:
                    yield await rendering.of(event)
                    version = event.version
        pace = _Pace()
        query = Query([QueryItem(streams=[stream])])
        async with aclosing(self._following.stretches(head, query)) as stretches:
            async for stretch in stretches:
                if pace.falls_behind(stretch):
                    yield rendering.fell_behind(revision=version - 1)
                for event in stretch.events:
                    if event.version > version:
                        yield await rendering.of(event)
                        version = event.version
                if pace.catches_up(stretch):
                    yield rendering.caught_up(revision=version - 1)

    async def _made_up(self, given: Any, virtual: Virtual, rendering: Rendering) -> AsyncGenerator[Any, None]:
        where = given.WhichOneof("revision_option")
        after = given.revision if where == "revision" else await self._store.head() if where == "end" else 0
        yield rendering.confirmation(str(uuid.uuid4()))
        pace = _Pace()
        async with aclosing(self._following.stretches(after, virtual.query)) as stretches:
            async for stretch in stretches:
                if pace.falls_behind(stretch):
                    yield rendering.fell_behind(revision=after)
                for event in stretch.events:
                    if virtual.wants(event):
                        yield await rendering.of(event)
                after = stretch.upto
                if pace.catches_up(stretch):
                    yield rendering.caught_up(revision=after)

    async def check_position(self, position: int) -> None:
        """Refuse a position that this log has not come to: it was saved from another one, or before a restore."""
        head = await self._store.head()
        if position > head:
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                "Unexpected FilteredReadAllResult: InvalidPosition. "
                f"The position {position} is behind the end of the log, {head}: was it saved from another store?",
            )


class _Pace:
    """Whether a subscriber keeps up: what it was told last, so that it is told only what changes."""

    def __init__(self) -> None:
        self._caught_up = False

    def falls_behind(self, stretch: Stretch) -> bool:
        """It had all there was, and what came next is in memory no more."""
        fell = self._caught_up and not stretch.kept
        self._caught_up = self._caught_up and not fell
        return fell

    def catches_up(self, stretch: Stretch) -> bool:
        """It has all there is, for the first time since it began or fell behind."""
        catches = stretch.live and not self._caught_up
        self._caught_up = self._caught_up or catches
        return catches
