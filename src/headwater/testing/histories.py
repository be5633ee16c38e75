"""What has happened, for a test: events in a store in memory, as objects of a codec's classes or as new events."""

from __future__ import annotations

import uuid
from copy import copy

from headwater.codecs import encode_event
from headwater.errors import InvalidEvent
from headwater.events import Event, EventRecord, NewEvent, uuid7
from headwater.limits import Limits
from headwater.store import EventStore
from headwater.typed import Codec, Unknown

__all__ = ["History", "as_stored", "encoded", "shown"]


class History:
    """A store in memory, and what has happened in it."""

    def __init__(self, store: EventStore, codec: Codec | None) -> None:
        self.store = store
        """To make repositories of, or whatever else the code under test needs."""
        self.codec = codec
        self._ids: set[uuid.UUID] = set()
        self.given: list[Event] = []
        """What has happened by itself, in order; what follows from it is not here."""

    async def happened(self, stream: str, *events: object) -> list[Event]:
        """Append these to a stream: ``NewEvent``s, or objects of the codec's classes. They are given as stored.

        Each is an event of its own, also where one ``NewEvent`` is given twice.
        """
        done = await self.store.append(stream, [self._new(encoded(each, self.codec)) for each in events])
        first = done.version - len(events)
        stored = [event async for event in self.store.read(stream, after=first, before=done.version + 1)]
        self.given += stored
        return stored

    def _new(self, event: NewEvent) -> NewEvent:
        if event.id in self._ids:
            event = copy(event)
            event.id = uuid7()
        self._ids.add(event.id)
        return event

    @property
    def told(self) -> str:
        """What has happened, for messages."""
        return "\n".join([f"given {shown(each, self.codec)}" for each in self.given] or ["given nothing"])


def encoded(event: object, codec: Codec | None) -> NewEvent:
    """The event as it is appended. ``InvalidEvent`` where it is an object, and there is no codec."""
    if isinstance(event, NewEvent):
        return event
    if codec is None:
        raise InvalidEvent(
            f"a test gives a {type(event).__name__}, and no codec for it", "Give NewEvents, or codec=… beside them."
        )
    return codec.encode(event)


def as_stored(event: NewEvent | EventRecord, stream: str | None, number: int = 0) -> Event:
    """A new event as a reader would get it, recorded ``number`` seconds after 1970 began."""
    record = encode_event(event, Limits()) if isinstance(event, NewEvent) else event
    return Event(
        number,
        stream,
        0,
        uuid7().bytes,
        record.type,
        record.data,
        record.metadata,
        record.tags,
        record.content_type,
        number * 1_000_000,
        record.occurred_us,
    )


def shown(event: Event, codec: Codec | None) -> str:
    """An event in one line: the objects that the codec makes of it, else its type, data and tags."""
    bodies = [] if codec is None else codec.bodies(event)
    if bodies and not any(isinstance(each, Unknown) for each in bodies):
        return f"{event.stream}: {', '.join(map(repr, bodies))}"
    tags = f" tagged {', '.join(event.tags)}" if event.tags else ""
    return f"{event.stream}: {event.type} {event.data!r}{tags}"
