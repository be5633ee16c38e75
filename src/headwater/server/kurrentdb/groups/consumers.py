"""A group's consumers: what each has in hand, and which of them gets an event."""

from __future__ import annotations

import asyncio
import time
import uuid
import zlib
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from headwater.events import Event

__all__ = ["Consumer", "Message", "chosen"]

BUCKETS = 1024
"""Pinned events are dealt by their stream into so many buckets, each of which belongs to one consumer."""


class Message:
    """An event on its way through a group."""

    __slots__ = ("event", "parked", "retries")

    def __init__(self, event: Event, parked: int = 0) -> None:
        self.event = event
        self.retries = 0
        self.parked = parked
        """Its version in the stream of what was parked, where it comes from there; else 0."""


class Consumer:
    """One connected consumer."""

    def __init__(self, room: int, peer: str, user: str, name: str) -> None:
        self.id = uuid.uuid4().hex
        self.room = room
        self.peer = peer
        self.user = user
        self.name = name
        self.held: OrderedDict[uuid.UUID, tuple[Message, float]] = OrderedDict()
        """What it has not answered yet, by id, with when it was sent: the first was sent first."""
        self.outgoing: asyncio.Queue[Message | Exception | None] = asyncio.Queue()
        self.total = 0

    @property
    def free(self) -> int:
        """How many more events it takes."""
        return self.room - len(self.held)

    def give(self, id: uuid.UUID, message: Message) -> None:
        """Send it an event."""
        self.held[id] = message, time.monotonic()
        self.outgoing.put_nowait(message)
        self.total += 1


def chosen(strategy: str, consumers: Sequence[Consumer], turn: int, event: Event) -> Consumer | None:
    """The consumer that gets an event; None where it has to wait for one.

    ``turn`` goes round the consumers. A pinned event waits for its own consumer, even while others are free.
    """
    if not consumers:
        return None
    if strategy == "RoundRobin":
        order = [consumers[(turn + each) % len(consumers)] for each in range(len(consumers))]
        return next((each for each in order if each.free > 0), None)
    if strategy == "DispatchToSingle":
        return next((each for each in consumers if each.free > 0), None)
    owner = pinned(consumers, _pin(strategy, event))
    return owner if owner.free > 0 else None


def pinned(consumers: Sequence[Consumer], key: str) -> Consumer:
    """Whose bucket this is. When a consumer comes or goes, only its own buckets change hands."""
    bucket = zlib.crc32(key.encode()) % BUCKETS
    return max(consumers, key=lambda each: zlib.crc32(f"{each.id}/{bucket}".encode()))


def _pin(strategy: str, event: Event) -> str:
    if strategy == "PinnedByCorrelation" and event.raw_metadata:
        try:
            correlation = event.metadata.get("$correlationId")
        except msgspec.DecodeError:
            correlation = None
        if isinstance(correlation, str):
            return correlation
    return event.stream or str(event.id)
