"""Streams of metadata: ``$$loan-1`` says what readers of ``loan-1`` still see, as an ordinary stream of events.

What its last event says becomes the stream's policy in the store, so that Headwater's own readers see the same.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import msgspec

from headwater.errors import WrongExpectedVersion
from headwater.events import Event, NewEvent
from headwater.queries import ANY
from headwater.store import EventStore

__all__ = ["DELETED", "METADATA", "Metadata", "is_metadata", "last_event", "subject_of"]

METADATA = "$metadata"
"""The type of the events in such a stream."""

DELETED = (1 << 63) - 1
"""``$tb`` of a stream that was deleted."""

_PREFIX = "$$"
_VERSION_MOST = (1 << 62) - 1
_AGE_MOST = 3_000_000_000


def is_metadata(stream: str) -> bool:
    """Whether this is the stream of another one's metadata."""
    return stream.startswith(_PREFIX) and len(stream) > len(_PREFIX)


def subject_of(stream: str) -> str:
    """The stream that a stream of metadata is about."""
    return stream.removeprefix(_PREFIX)


async def last_event(store: EventStore, stream: str) -> Event | None:
    """The last event of a stream that its readers see."""
    async with aclosing(store.read(stream, backwards=True, limit=1)) as events:
        async for event in events:
            return event
    return None


class Metadata:
    """What the streams of metadata do to the store's policies."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._locks: dict[str, asyncio.Lock] = {}

    async def written(self, stream: str) -> None:
        """Something was appended to a stream of metadata: let the policy follow what its last event says.

        A stream that does not exist yet gets its policy with its first event.
        """
        await self._follow(subject_of(stream))

    async def began(self, stream: str) -> None:
        """A stream has its first events: it may have metadata already."""
        if await self._store.stream(_PREFIX + stream) is not None:
            await self._follow(stream)

    async def deleted(self, stream: str) -> None:
        """A stream was deleted: say so in its metadata, as clients expect to find it there."""
        present = await last_event(self._store, _PREFIX + stream)
        about = _about(present)
        await self._store.append(_PREFIX + stream, [NewEvent(METADATA, {**about, "$tb": DELETED})])

    async def _follow(self, stream: str) -> None:
        lock = self._locks.setdefault(stream, asyncio.Lock())  # two writes at a time: the later one's policy stays
        try:
            async with lock:
                about = _about(await last_event(self._store, _PREFIX + stream))
                if about.get("$tb") == DELETED:
                    await self._delete(stream)
                await self._set(stream, about)
        finally:
            if not lock.locked():
                self._locks.pop(stream, None)

    async def _delete(self, stream: str) -> None:
        info = await self._store.stream(stream)
        if info is not None and info.state == "open":
            await self._store.delete_stream(stream, expected=ANY)

    async def _set(self, stream: str, about: dict[str, Any]) -> None:
        before = _number(about.get("$tb"), _VERSION_MOST)
        count = _number(about.get("$maxCount"), _VERSION_MOST)
        age = _number(about.get("$maxAge"), _AGE_MOST)
        info = await self._store.stream(stream)
        if info is None or info.state == "tombstoned":
            return
        try:
            await self._store.set_policy(
                stream,
                truncate_before=None if before is None else before + 1,
                max_age=timedelta(seconds=age) if age else None,
                max_count=count or None,
            )
        except WrongExpectedVersion:  # never had an event
            return


def _about(event: Event | None) -> dict[str, Any]:
    if event is None:
        return {}
    try:
        return msgspec.json.decode(event.raw_data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _number(value: Any, most: int) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most else None
