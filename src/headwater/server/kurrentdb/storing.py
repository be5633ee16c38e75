"""Appending for a client: its expectations and ids in the store's terms, and what follows from it.

The same ids again are a retry, now or in a year. KurrentDB lets two streams hold events of one id, the store does not:
there an event goes under an id made from its stream and its own, and is shown under its own.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from headwater.appending import version_fits
from headwater.backend import Appended
from headwater.errors import DuplicateEvent, WrongExpectedVersion
from headwater.events import NewEvent
from headwater.queries import ANY, NO_STREAM, STREAM_EXISTS, AppendCondition, Expected, ExpectedVersion
from headwater.server.kurrentdb.access import Access
from headwater.server.kurrentdb.recorded import id_of, new_event, original_id, uuid_of
from headwater.server.kurrentdb.refusals import invalid
from headwater.server.kurrentdb.system import Metadata, is_metadata
from headwater.server.kurrentdb.virtual import virtual_of
from headwater.store import Append, EventStore

__all__ = ["Conflict", "Proposal", "SoftDeleted", "Storing", "Streamwise", "expectation_of", "proposal_of"]

LATER_SECONDS = 2.0

REVISION_MOST = (1 << 62) - 1


class Conflict(Exception):
    """A stream is not as expected. ``actual`` is its revision; -1 where it has no events."""

    def __init__(self, stream: str, expected: ExpectedVersion, actual: int) -> None:
        self.stream = stream
        self.expected = expected
        self.actual = actual
        super().__init__(stream, expected, actual)


class SoftDeleted(Exception):
    """A stream that exists was expected, and this one was deleted."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(stream)


class Proposal(NamedTuple):
    """An event as a client proposes it."""

    id: uuid.UUID
    headers: Mapping[str, str]
    data: bytes
    metadata: bytes

    def event(self, stored_id: uuid.UUID | None = None) -> NewEvent:
        """As the store takes it."""
        return new_event(self.id, self.headers, self.data, self.metadata, stored_id=stored_id)


class Streamwise(NamedTuple):
    """What is to be appended to one stream."""

    stream: str
    expected: ExpectedVersion
    proposals: Sequence[Proposal]
    condition: AppendCondition | None = None


def proposal_of(given: Any) -> Proposal:
    """The proposal in a message of ``Append`` or ``BatchAppend``."""
    return Proposal(uuid_of(given.id), given.metadata, given.data, given.custom_metadata)


def expectation_of(options: Any, oneof: str, number: str) -> ExpectedVersion:
    """The expected version in the options of a call; ``number`` is the field that holds a revision."""
    kind = options.WhichOneof(oneof)
    if kind == number:
        return min(int(getattr(options, number)), REVISION_MOST) + 1
    known: dict[str | None, ExpectedVersion] = {"no_stream": NO_STREAM, "any": ANY, "stream_exists": STREAM_EXISTS}
    if kind not in known:
        raise invalid("the call says no expected revision: a number, no_stream, any or stream_exists")
    return known[kind]


class Storing:
    """Appends to one store."""

    def __init__(self, store: EventStore, metadata: Metadata, access: Access) -> None:
        self._store = store
        self._metadata = metadata
        self._access = access
        self._later: set[asyncio.Task[None]] = set()

    async def append(self, stream: str, expected: ExpectedVersion, proposals: Sequence[Proposal]) -> Appended:
        """Append to one stream. ``Conflict``, ``SoftDeleted`` and the store's own refusals."""
        return (await self.append_all([Streamwise(stream, expected, proposals)]))[0]

    async def append_all(self, parts: Sequence[Streamwise]) -> list[Appended]:
        """Append to several streams: all or none."""
        for part in parts:
            if virtual_of(part.stream) is not None:
                raise invalid(f"the server makes up the stream {part.stream!r} from what it links to: append there")
        if len(parts) == 1 and not parts[0].proposals:
            return [await self._nothing(parts[0])]
        try:
            results = await self._appended(parts)
        except WrongExpectedVersion as wrong:
            return [await self._in_doubt(parts, wrong)]
        except asyncio.CancelledError:
            self._follow_later(parts)
            raise
        for part, result in zip(parts, results, strict=True):
            await self._follow(part, result)
        return results

    async def _appended(self, parts: Sequence[Streamwise]) -> list[Appended]:
        try:
            return await self._store_all([[each.event() for each in part.proposals] for part in parts], parts)
        except DuplicateEvent as duplicate:
            events = await self._told_apart(parts, duplicate)
            try:
                return await self._store_all(events, parts)
            except DuplicateEvent:
                raise await self._conflict(parts[0]) from None

    async def _store_all(self, events: Sequence[Sequence[NewEvent]], parts: Sequence[Streamwise]) -> list[Appended]:
        if len(parts) == 1:
            part = parts[0]
            return [await self._store.append(part.stream, events[0], expected=part.expected, condition=part.condition)]
        appends = [
            Append(part.stream, each, part.expected, part.condition) for part, each in zip(parts, events, strict=True)
        ]
        return await self._store.append_all(appends)

    async def _told_apart(self, parts: Sequence[Streamwise], duplicate: DuplicateEvent) -> list[list[NewEvent]]:
        """The events, those under ids of their own that other streams hold already.

        An id that the stream itself holds stays: so a whole retry is found, and a part of one is a conflict.
        """
        events: list[list[NewEvent]] = []
        for part in parts:
            if len({each.id for each in part.proposals}) < len(part.proposals):
                raise duplicate
            mine = []
            for each in part.proposals:
                there = await self._store.event(each.id)
                elsewhere = there is not None and (there.stream != part.stream or original_id(there) != each.id)
                mine.append(each.event(id_of(part.stream, each.id) if elsewhere else None))
            events.append(mine)
        return events

    async def _conflict(self, part: Streamwise) -> Conflict:
        info = await self._store.stream(part.stream)
        return Conflict(part.stream, part.expected, (info.version if info else 0) - 1)

    async def _in_doubt(self, parts: Sequence[Streamwise], wrong: WrongExpectedVersion) -> Appended:
        """A stream that was expected to exist: it may be deleted, or have nothing yet but metadata."""
        stream = wrong.stream or ""
        if wrong.expected is not STREAM_EXISTS:
            raise Conflict(stream, _expected(wrong), wrong.actual - 1) from None
        if wrong.actual:
            raise SoftDeleted(stream) from None
        if len(parts) == 1 and await self._store.stream(f"$${stream}") is not None:
            return await self.append(stream, NO_STREAM, parts[0].proposals)
        raise Conflict(stream, STREAM_EXISTS, -1) from None

    async def _nothing(self, part: Streamwise) -> Appended:
        """An append of no events: whether the stream is as expected."""
        info = await self._store.stream(part.stream)
        version = info.version if info is not None else 0
        there = info is not None and info.state == "open"
        if not version_fits(part.expected, version, deleted=not there):
            raise Conflict(part.stream, part.expected, version - 1)
        return Appended(version, await self._store.head())

    def _follow_later(self, parts: Sequence[Streamwise]) -> None:
        """The client has gone, and what it began may be done all the same: then that has its consequences too."""

        async def follow() -> None:
            await asyncio.sleep(LATER_SECONDS)
            for part in parts:
                self._access.changed(part.stream)
                if is_metadata(part.stream):
                    await self._metadata.written(part.stream)
                else:
                    await self._metadata.began(part.stream)

        task = asyncio.create_task(follow())
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _follow(self, part: Streamwise, result: Appended) -> None:
        self._access.changed(part.stream)
        if is_metadata(part.stream):
            await self._metadata.written(part.stream)
        elif result.version == len(part.proposals):
            await self._metadata.began(part.stream)


def _expected(wrong: WrongExpectedVersion) -> ExpectedVersion:
    return wrong.expected if isinstance(wrong.expected, int | Expected) else ANY
