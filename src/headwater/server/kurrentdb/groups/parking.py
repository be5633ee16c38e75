"""What a group's consumers could not handle: links in a stream of its own, to be replayed by a person."""

from __future__ import annotations

import time
from contextlib import aclosing

from headwater.events import Event, NewEvent
from headwater.server.kurrentdb.groups.consumers import Message
from headwater.server.kurrentdb.groups.described import Described
from headwater.server.kurrentdb.recorded import BYTES, LINK, shown_stream
from headwater.store import EventStore

__all__ = ["Parking"]

REPLAY_MOST = 10_000
"""Parked events that are brought back at a time, as they are held in memory."""

REASON_MOST = 1_000


class Parking:
    """The parked events of one group.

    A replayed one stays in the stream until it is out of the group's hands again, so that nothing is lost between. What
    is hidden there is hidden from the front: up to the first that is still open.
    """

    def __init__(self, store: EventStore, described: Described) -> None:
        self._store = store
        self._stream = described.parked_stream
        self._open: dict[int, None] = {}
        self._taken_to = 0
        self._moved = False

    async def park(self, message: Message, reason: str) -> None:
        """Put an event aside, durably."""
        stream, revision = shown_stream(message.event)
        about = {"$event": str(message.event.id), "reason": reason[:REASON_MOST], "added": time.time()}
        link = NewEvent(LINK, f"{revision}@{stream}".encode(), metadata=about, content_type=BYTES)
        await self._store.append(self._stream, [link])

    async def taken(self, most: int | None) -> list[Message]:
        """The parked events that are not on their way already, at most so many."""
        messages = []
        limit = REPLAY_MOST if most is None else min(most, REPLAY_MOST)
        async with aclosing(self._store.read(self._stream, after=self._taken_to, limit=limit)) as links:
            async for link in links:
                self._taken_to = link.version
                event = await self._event(link)
                if event is not None:
                    self._open[link.version] = None
                    messages.append(Message(event, link.version))
        self._moved = self._moved or bool(self._taken_to)
        return messages

    async def _event(self, link: Event) -> Event | None:
        id = link.metadata.get("$event")
        return await self._store.event(id) if isinstance(id, str) else None

    def done(self, version: int) -> None:
        """A replayed event is out of hand."""
        self._open.pop(version, None)
        self._moved = True

    async def settle(self) -> None:
        """Hide what has been replayed and is out of hand."""
        if self._moved:
            self._moved = False
            first = next(iter(self._open)) if self._open else self._taken_to + 1
            await self._store.set_policy(self._stream, truncate_before=first)

    async def count(self) -> int:
        """How many are parked."""
        info = await self._store.stream(self._stream)
        return 0 if info is None or info.state != "open" else info.version - info.first_version + 1

    async def truncate(self) -> None:
        """Forget all that is parked."""
        if await self._store.stream(self._stream) is not None:
            await self._store.delete_stream(self._stream)
