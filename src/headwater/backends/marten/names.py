"""Between the names of streams here and Marten's stream ids."""

from __future__ import annotations

import uuid
from typing import NoReturn

from headwater.backends.marten.shape import Shape
from headwater.errors import InvalidEvent
from headwater.events import EventRecord, category_of

__all__ = ["NOWHERE", "Names"]

NOWHERE = "00000000-0000-0000-0000-000000000000"
"""The id of no stream (RFC 9562, section 5.9): what can't be a name there is looked for under it."""
LOOSE = "headwater.event"
"""Marten knows no event without a stream: each append of such events makes one, of this category."""
UNTYPED = "stream"
"""The category of streams without a type, where ids are GUIDs."""


class Names:
    """Where ids are texts, a stream's name is its id. Where they are GUIDs, it is the stream's type and the id."""

    def __init__(self, shape: Shape) -> None:
        self._guid = shape.identity == "guid"

    def key(self, name: str) -> str:
        """The id of the stream; ``NOWHERE`` where there can be none of this name."""
        if not self._guid:
            return name
        category, _, id = name.partition("-")
        try:
            key = str(uuid.UUID(id))
        except ValueError:
            return NOWHERE
        return key if key == id and category else NOWHERE

    def new_key(self, name: str) -> str:
        """The id of a stream to append to. ``InvalidEvent`` where Marten can't have one of this name."""
        if category_of(name) == LOOSE:
            _refuse(name, "is kept for events without a stream")
        key = self.key(name)
        if self._guid and key == NOWHERE:
            _refuse(name, "is not the name of one of this application's streams, whose ids are GUIDs")
        return key

    def kind(self, name: str) -> str | None:
        """Marten's type of a new stream. .NET looks a type up by its alias, so none is better than a strange one."""
        category = category_of(name)
        return category if self._guid and category != UNTYPED else None

    def loose(self, record: EventRecord) -> tuple[str, str | None]:
        """Id and type of the stream for events without one, of which this is the first."""
        id = str(uuid.UUID(bytes=record.id))
        return (id, LOOSE) if self._guid else (f"{LOOSE}-{id}", None)


def _refuse(name: str, why: str) -> NoReturn:
    raise InvalidEvent(
        f"stream {name!r} {why}",
        f"Name a stream by its aggregate's alias and its id: loan_application-{uuid.UUID(int=0x1234)}.",
    )
