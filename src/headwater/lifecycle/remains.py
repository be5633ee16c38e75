"""Where a person's data remain in a store: evidence for whoever asked to be forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any, Literal

import msgspec

from headwater.backend import Snapshot, Subject
from headwater.codecs import PERSONAL_KEY, SealedState, blanked, parts_of
from headwater.events import Event
from headwater.keeping import SEALED
from headwater.store import EventStore
from headwater.typed import Codec, UnreadableEvent

__all__ = ["Remain", "remains"]

Found = Literal["readable", "destroyed", "key unknown", "clear", "id", "handed out"]


class Remain(msgspec.Struct, frozen=True):
    """One place where something of a person is."""

    place: Literal["event", "scheduled", "snapshot", "consumer"]
    name: str
    """The stream's name, the snapshot's, or the consumer's."""
    position: int
    """In the log; 0 for what is beside it."""
    what: str
    """The type of the event, the kind of the consumer."""
    found: Found
    """``readable``: sealed, and the key is in the vault. ``destroyed``: sealed, and nobody can read it any more.
    ``key unknown``: sealed under a key of another vault. ``clear``: personal data that are not sealed. ``id``: the
    subject's id stands there, and nothing else about them. ``handed out``: a consumer was given such events, and what
    it wrote elsewhere may hold copies."""


async def remains(store: EventStore, subject: str, known: Subject | None, codec: Codec | None) -> AsyncIterator[Remain]:
    """Where something about ``subject`` is: in the log, scheduled, in snapshots; and who was given such events.

    Arguments:
        store: opened without a vault, so that what is stored is seen as it is stored. The whole log is read.
        known: what the vault knows of the subject.
        codec: finds personal fields that were stored before they were declared as such, so in the clear.
    """
    first = None
    async with aclosing(store.read_all()) as events:
        async for event in events:
            for found in _found_in(event, subject, known, codec):
                if found != "id" and first is None:
                    first = event.position
                yield Remain("event", event.stream or "", event.position, event.type, found)
    async for scheduled in store.scheduled.all():
        for record in scheduled.events:
            for part in parts_of(record.metadata).values():
                if part.subject == subject:
                    yield Remain("scheduled", scheduled.stream or "", 0, record.type, _state(part.key, known))
    async for snapshot in store.snapshots.all():
        state = _found_in_snapshot(snapshot, subject, known)
        if state is not None:
            yield Remain("snapshot", snapshot.name, 0, snapshot.schema, state)
    for consumer in await store.consumers.all():
        if first is not None and consumer.position >= first:
            yield Remain("consumer", consumer.name, consumer.position, consumer.kind, "handed out")


def _found_in(event: Event, subject: str, known: Subject | None, codec: Codec | None) -> Iterator[Found]:
    sealed = {part.key for part in parts_of(event.raw_metadata).values() if part.subject == subject and part.key}
    for key in sorted(sealed):
        yield _state(key, known)
    if codec is not None and _in_the_clear(event, subject, codec):
        yield "clear"
    elif not sealed and _names(event, subject):
        yield "id"


def _state(key: str, known: Subject | None) -> Found:
    if known is not None and key == known.key:
        return "readable"
    return "destroyed" if known is not None and key in known.forgotten else "key unknown"


def _in_the_clear(event: Event, subject: str, codec: Codec) -> bool:
    try:
        bodies = codec.bodies(blanked(event))
    except UnreadableEvent:
        return False
    values = [each for body in bodies for each in codec.personal_values(body)]
    return any(part.subject == subject and value != part.placeholder for part, value in values)


def _names(event: Event, subject: str) -> bool:
    if (event.stream or "").partition("-")[2] == subject:
        return True
    if any(subject in (tag, tag.partition(":")[2]) for tag in event.tags):
        return True
    said = {name: value for name, value in event.metadata.items() if name != PERSONAL_KEY}
    return _holds(said, subject) or (subject.encode() in event.raw_data and _holds(event.data, subject))


def _holds(value: Any, subject: str) -> bool:
    if isinstance(value, dict):
        return any(_holds(each, subject) for each in value.values())
    if isinstance(value, list):
        return any(_holds(each, subject) for each in value)
    return isinstance(value, str) and value == subject


def _found_in_snapshot(snapshot: Snapshot, subject: str, known: Subject | None) -> Found | None:
    if snapshot.content_type.startswith(SEALED):
        key = msgspec.json.decode(snapshot.raw_state, type=SealedState).keys.get(subject)
        return None if key is None else _state(key, known)
    try:
        return "id" if _holds(snapshot.state, subject) else None
    except msgspec.DecodeError:
        return None
