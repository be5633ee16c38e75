"""Which groups there are: a stream for each, whose last event describes it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import grpc
import msgspec

from headwater.errors import StreamDeleted, WrongExpectedVersion
from headwater.events import NewEvent
from headwater.queries import NO_STREAM
from headwater.server.kurrentdb.groups.described import Described
from headwater.server.kurrentdb.refusals import Refused, case
from headwater.server.kurrentdb.system import last_event
from headwater.store import EventStore

__all__ = ["Register", "no_group"]

_PREFIX = "$persistentconfig-"
_TYPE = "PersistentConfig1"
"""Clients' usual filter leaves events of this type out."""


def no_group(source: str, group: str) -> Refused:
    """There is no such group."""
    trailers = case("persistent-subscription-does-not-exist", stream_name=source, group_name=group)
    text = f"Subscription group {group} on stream {source} does not exist."
    return Refused(grpc.StatusCode.NOT_FOUND, text, trailers)


class Register:
    """The groups of one store."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def create(self, group: Described) -> None:
        """Write a new group down."""
        try:
            await self._store.append(_PREFIX + group.key, [_event(group)], expected=NO_STREAM)
        except (WrongExpectedVersion, StreamDeleted):
            trailers = case("persistent-subscription-exists", stream_name=group.source, group_name=group.group)
            text = f"Subscription group {group.group} on stream {group.source} exists."
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, text, trailers) from None

    async def change(self, group: Described) -> None:
        """Write down what a group is from now on."""
        await self._store.append(_PREFIX + group.key, [_event(group)])

    async def find(self, source: str, group: str) -> Described:
        """The group of this name. ``Refused`` where there is none."""
        event = await last_event(self._store, f"{_PREFIX}{source}::{group}")
        if event is None:
            raise no_group(source, group)
        return msgspec.json.decode(event.raw_data, type=Described)

    async def delete(self, group: Described) -> None:
        """Strike a group out, with what it has parked."""
        await self._store.delete_stream(_PREFIX + group.key)
        if await self._store.stream(group.parked_stream) is not None:
            await self._store.delete_stream(group.parked_stream)

    async def all(self) -> AsyncGenerator[Described, None]:
        """Every group, by name."""
        async with aclosing(self._store.streams(prefix=_PREFIX)) as streams:
            async for stream in streams:
                if stream.state == "open":
                    event = await last_event(self._store, stream.name)
                    if event is not None:
                        yield msgspec.json.decode(event.raw_data, type=Described)


def _event(group: Described) -> NewEvent:
    return NewEvent(_TYPE, group)
