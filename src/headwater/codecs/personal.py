"""Which parts of an event's data are about a person: marks in its metadata, by JSON pointer (RFC 6901).

``{"personal_data": {"/name": {"subject": "112"}}}``: the value at ``/name`` is about the subject 112. A mark with a
``key`` says that the value stands there sealed, under the key of that id; one that is ``forgotten``, that the key is
gone and a placeholder stands there instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from headwater.errors import InvalidEvent
from headwater.events import Event

__all__ = [
    "PERSONAL_KEY",
    "PERSONAL_MARK",
    "PLACEHOLDER",
    "PersonalPart",
    "SealedState",
    "blanked",
    "checked_parts",
    "parts_of",
    "people_in",
    "place_of",
]

PERSONAL_KEY = "personal_data"
"""In an event's metadata."""

PERSONAL_MARK = f'"{PERSONAL_KEY}"'.encode()
"""What stands in the bytes of such metadata, to pass over all other events quickly."""

PLACEHOLDER = "(forgotten)"
"""Stands in place of what nobody can read any more, where nothing else was said."""


class PersonalPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """One value in an event's data that is about a person."""

    subject: str
    """Who: the id of the person."""
    key: str = ""
    """The id of the key that the value is sealed under; '' where it is not sealed."""
    placeholder: Any = PLACEHOLDER
    """What stands in the value's place once the key is gone."""
    forgotten: bool = False
    """The key is gone, and the placeholder stands there."""


class SealedState(msgspec.Struct, frozen=True):
    """A snapshot that is sealed under the keys of all people it is about."""

    keys: dict[str, str]
    """The id of each person's key, by subject."""
    sealed: bytes


def parts_of(metadata: bytes) -> dict[str, PersonalPart]:
    """The marked parts by their pointers, of metadata as stored; none where the marks are somebody else's."""
    if PERSONAL_MARK not in metadata:
        return {}
    try:
        return _parts(msgspec.json.decode(metadata, type=dict[str, Any]))
    except msgspec.ValidationError:
        return {}


def people_in(metadata: bytes) -> set[str]:
    """Whom data are about that stand there in the clear, or sealed: nobody who is forgotten."""
    return {part.subject for part in parts_of(metadata).values() if not part.forgotten}


def checked_parts(metadata: bytes, kind: str) -> dict[str, PersonalPart]:
    """``parts_of`` what is to be stored. ``InvalidEvent`` where the marks say nothing that can be followed."""
    try:
        parts = _parts(msgspec.json.decode(metadata, type=dict[str, Any]))
    except msgspec.ValidationError as error:
        raise InvalidEvent(
            f"the metadata of event {kind!r} have {PERSONAL_KEY!r}, but not as marks of personal data: {error}",
            f'Write {{"{PERSONAL_KEY}": {{"/name": {{"subject": "112"}}}}}}, or use another name for what you mean.',
        ) from None
    for pointer, part in parts.items():
        if not pointer.startswith("/") or not part.subject:
            raise InvalidEvent(
                f"the mark {pointer!r} of personal data in event {kind!r} names no place or no subject",
                'Write a JSON pointer such as "/name" or "/address/street", and the subject\'s id.',
            )
    return parts


def blanked(event: Event) -> Event:
    """The event with placeholders for what is sealed in it, as everybody will read it one day."""
    parts = {pointer: part for pointer, part in parts_of(event.raw_metadata).items() if part.key}
    if not parts:
        return event
    data, metadata = event.data, event.metadata
    for pointer, part in parts.items():
        place = place_of(data, pointer)
        if place is not None:
            place[0][place[1]] = part.placeholder
        metadata[PERSONAL_KEY][pointer] = msgspec.structs.replace(part, key="", forgotten=True)
    raw_data, raw_metadata = msgspec.json.encode(data), msgspec.json.encode(metadata)
    return msgspec.structs.replace(event, raw_data=raw_data, raw_metadata=raw_metadata)


def _parts(metadata: Mapping[str, Any]) -> dict[str, PersonalPart]:
    found = metadata.get(PERSONAL_KEY)
    return {} if found is None else msgspec.convert(found, dict[str, PersonalPart])


def place_of(document: Any, pointer: str) -> tuple[Any, Any] | None:
    """The object or list that holds the value at a pointer, and its name or number there. None where there is none."""
    found: tuple[Any, Any] | None = None
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        place: Any = int(name) if isinstance(document, list) and name.isdecimal() else name
        there = range(len(document)) if isinstance(document, list) else document if isinstance(document, dict) else ()
        if place not in there:
            return None
        found = document, place
        document = document[place]
    return found
