"""Why an event happened, and what followed from it: the tree that causation ids span."""

from __future__ import annotations

import uuid
from contextlib import aclosing

import msgspec

from headwater.events import Event
from headwater.store import EventStore

__all__ = ["Caused", "causes", "effects"]

_MARK = b'"causation_id"'


class Caused(msgspec.Struct):
    """An event, and those that name it as their cause."""

    event: Event
    effects: list[Caused]


def causation_of(event: Event) -> str:
    """The id of what the event follows from: of another event, or of a command; '' where it does not say."""
    if _MARK not in event.raw_metadata:
        return ""
    said = event.metadata.get("causation_id")
    return said if isinstance(said, str) else ""


async def causes(store: EventStore, event: Event) -> tuple[list[Event], str]:
    """The events that led to this one, the first cause first; and the command behind that, '' where none is named."""
    chain: list[Event] = []
    current = event
    while said := causation_of(current):
        found = await store.event(said) if _is_id(said) else None
        if found is None or found.position >= current.position:  # a command's id; or ids that were made up
            return chain[::-1], said
        chain.append(found)
        current = found
    return chain[::-1], ""


async def effects(store: EventStore, event: Event) -> Caused:
    """What followed from this event, and from that in turn. Reads the log from there on: effects come after causes."""
    root = Caused(event, [])
    known = {str(event.id): root}
    async with aclosing(store.read_all(after=event.position)) as events:
        async for each in events:
            cause = known.get(causation_of(each))
            if cause is not None:
                node = known[str(each.id)] = Caused(each, [])
                cause.effects.append(node)
    return root


def _is_id(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
