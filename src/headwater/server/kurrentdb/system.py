"""Streams of metadata: ``$$loan-1`` says what readers of ``loan-1`` still see, as an ordinary stream of events.

What its last event says becomes the stream's policy in the store, so that Headwater's own readers see the same.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import msgspec

from headwater.backend import StreamPolicy
from headwater.errors import HeadwaterError
from headwater.events import Event, NewEvent
from headwater.queries import ANY, Query, QueryItem
from headwater.store import EventStore

__all__ = ["DELETED", "METADATA", "Metadata", "is_metadata", "last_event", "object_of", "subject_of"]

log = logging.getLogger("headwater.server")

METADATA = "$metadata"
"""The type of the events in such a stream."""

DELETED = (1 << 63) - 1
"""``$tb`` of a stream that was deleted."""

EARLY_MOST = 100_000
"""Streams that have metadata and no events yet, as many as are kept in mind."""
LOOK_SECONDS = 1.0
"""How often it is looked for metadata that another process has written. A stream that began before gets them then."""

_PREFIX = "$$"
_EVENTS = Query([QueryItem(types=[METADATA])])
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
    """What the streams of metadata do to the store's policies.

    Most new streams have no metadata yet, and to look for each would cost as much as the append. So those that have are
    kept in mind: all at the start, then as the log tells of them, whichever process has written them.
    """

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._locks: dict[str, asyncio.Lock] = {}
        self._early: set[str] | None = None
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Keep metadata in mind from now on."""
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Keep them in mind no longer."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def written(self, stream: str) -> None:
        """Something was appended to a stream of metadata: let the policy follow what its last event says.

        A stream that does not exist yet gets its policy with its first event.
        """
        subject = subject_of(stream)
        about = object_of(await last_event(self._store, stream))
        if about.get("$tb") == DELETED:
            info = await self._store.stream(subject)
            if info is not None and info.state == "open":
                await self._store.delete_stream(subject, expected=ANY)
        await self._follow(subject)

    async def began(self, stream: str) -> None:
        """A stream has its first events: it may have metadata already."""
        if self._early is not None:
            if stream not in self._early:
                return
            self._early.discard(stream)
        elif await self._store.stream(_PREFIX + stream) is None:
            return
        await self._follow(stream)

    async def deleted(self, stream: str) -> None:
        """A stream was deleted: say so in its metadata, as clients expect to find it there."""
        present = await last_event(self._store, _PREFIX + stream)
        about = object_of(present)
        await self._store.append(_PREFIX + stream, [NewEvent(METADATA, {**about, "$tb": DELETED})])

    async def _watch(self) -> None:
        """Learn of all metadata there are, then look now and then for what other processes have written."""
        early: set[str] = set()
        upto = 0
        while len(early) <= EARLY_MOST:
            try:
                head = await self._store.head()
                async with aclosing(self._store.read_all(after=upto, before=head + 1, query=_EVENTS)) as events:
                    async for event in events:
                        subject = subject_of(event.stream or "")
                        if is_metadata(event.stream or "") and not await self._follow(subject):
                            early.add(subject)
                upto, self._early = head, early
            except HeadwaterError as error:
                log.warning("metadata can't be read just now, so each new stream's are looked up: %s", error)
                self._early = None
            await asyncio.sleep(LOOK_SECONDS)
        self._early = None  # too many to keep in mind: each new stream is looked up

    async def _follow(self, stream: str) -> bool:
        """Let a stream's policy be what its metadata say. Whether there is such a stream."""
        lock = self._locks.setdefault(stream, asyncio.Lock())  # two writes at a time: the later one's policy stays
        try:
            async with lock:
                info = await self._store.stream(stream)
                if info is None:
                    if self._early is not None:
                        self._early.add(stream)
                    return False
                policy = _policy(object_of(await last_event(self._store, _PREFIX + stream)))
                if info.state != "tombstoned" and info.policy != policy:
                    await self._store.set_policy(
                        stream,
                        truncate_before=policy.truncate_before,
                        max_age=policy.max_age,
                        max_count=policy.max_count,
                    )
                return True
        finally:
            if not lock.locked():
                self._locks.pop(stream, None)


def _policy(about: dict[str, Any]) -> StreamPolicy:
    before = _number(about.get("$tb"), _VERSION_MOST)
    count = _number(about.get("$maxCount"), _VERSION_MOST)
    age = _number(about.get("$maxAge"), _AGE_MOST)
    return StreamPolicy(0 if before is None else before + 1, timedelta(seconds=age) if age else None, count or None)


def object_of(event: Event | None) -> dict[str, Any]:
    """The JSON object that an event holds; empty where it holds none."""
    if event is None:
        return {}
    try:
        return msgspec.json.decode(event.raw_data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _number(value: Any, most: int) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most else None
