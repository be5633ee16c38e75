"""What is really stored: every type, version and shape, how often, and whether the code at hand can read it."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Any

import msgspec

from headwater.codecs import blanked
from headwater.events import Event, is_json
from headwater.typed.codec import Codec, Unknown, UnreadableEvent, stored_version

__all__ = ["SHAPES_MAX", "StoredShape", "shape_text", "stored_shapes"]

SHAPES_MAX = 1_000
"""Shapes that are told apart of one type and version; all others are counted as one. Data with keys of all kinds have
as many shapes as events."""

_OTHERS = "(others)"


class StoredShape(msgspec.Struct):
    """Events of one type, version and shape."""

    type: str
    version: int
    shape: str
    """The names of the fields with the kinds of their values, as JSON: ``{"amount":"integer","tags":["string"]}``; the
    content type where the data are no JSON."""
    count: int
    position: int
    """Of the first such event."""
    last_position: int
    problem: str = ""
    """Why the code can't read the first such event; '' where it can, or was not asked."""


def shape_text(event: Event) -> str:
    """The shape of an event's data."""
    if not is_json(event.content_type):
        return event.content_type
    return msgspec.json.encode(_shape(event.data)).decode()


def _shape(value: Any) -> Any:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case dict():
            return {name: _shape(value[name]) for name in sorted(value)}
        case _:
            kinds = {msgspec.json.encode(_shape(each)) for each in value}
            return [msgspec.json.decode(each) for each in sorted(kinds)]


async def stored_shapes(events: AsyncIterable[Event], codec: Codec | None = None) -> list[StoredShape]:
    """The shapes of these events, by type, version and first position; with a ``codec``, whether it can read them.

    Types that the codec has no class for are a problem too.
    """
    found: dict[tuple[str, int, str], StoredShape] = {}
    kinds: dict[tuple[str, int], int] = {}
    async for event in events:
        version, shape = stored_version(event), shape_text(event)
        known = found.get((event.type, version, shape))
        if known is None:
            kinds[event.type, version] = kinds.get((event.type, version), 0) + 1
            if kinds[event.type, version] > SHAPES_MAX:
                shape = _OTHERS
            known = found.setdefault(
                (event.type, version, shape),
                StoredShape(event.type, version, shape, 0, event.position, event.position, _problem(event, codec)),
            )
        known.count += 1
        known.last_position = event.position
    return sorted(found.values(), key=lambda each: (each.type, each.version, each.position))


def _problem(event: Event, codec: Codec | None) -> str:
    if codec is None:
        return ""
    try:
        bodies = codec.bodies(blanked(event))  # what is sealed can be read, by those who have the keys
    except UnreadableEvent as error:
        return error.reason
    if any(isinstance(body, Unknown) for body in bodies):
        return "no class is declared for this type" if event.type not in codec.types else "it is of a newer version"
    return ""
