"""Commands kept with the events that they led to, so that decisions can be replayed by later rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headwater.codecs import place_of
from headwater.errors import InvalidEvent
from headwater.events import Event, NewEvent
from headwater.typed import InvalidType
from headwater.typed.personal import has_personal, personal_parts
from headwater.typed.shapes import Shape, shape_of

__all__ = ["COMMAND_KEY", "Commands", "RecordedCommand"]

COMMAND_KEY = "command"
"""In the metadata of the first event that a command led to."""

_MARK = f'"{COMMAND_KEY}"'.encode()


class RecordedCommand(msgspec.Struct, frozen=True):
    """A command as it is kept."""

    type: str
    fields: dict[str, Any]
    events: int
    """How many it led to: this one, and those right after it."""


class _Kind(msgspec.Struct, frozen=True):
    name: str
    shape: Shape
    personal: bool


class Commands:
    """The classes of a rule's commands, by the names under which they are kept: ``Commands({"RequestLoan": Request})``.

    A ``Repository`` with ``commands=`` keeps each command with the first of its events. Personal fields of a command
    are kept as their placeholders. Classes are ``msgspec.Struct``, dataclasses or pydantic models; a name, once used,
    stays.
    """

    def __init__(self, kinds: Mapping[str, type]) -> None:
        self._kinds = {
            kind: _Kind(name, shape_of(kind, strict=False), has_personal(kind)) for name, kind in kinds.items()
        }
        self._by_name = {kind.name: kind for kind in self._kinds.values()}
        if len(self._kinds) < len(kinds):
            raise InvalidType("commands", "have one class under two names", "Give each class one name.")

    def keep(self, command: object, new: Sequence[NewEvent]) -> None:
        """Put the command into the metadata of the first of these events.

        ``InvalidEvent`` for a command of another class, and where events are about people and the command does not say
        which of its fields are.
        """
        kind = self._kinds.get(type(command))
        if kind is None:
            raise InvalidEvent(
                f"{type(command).__qualname__} is none of the commands that are kept",
                f'Add it: Commands({{"{type(command).__name__}": {type(command).__name__}, …}}).',
            )
        if not kind.personal and any("personal_data" in (event.metadata or {}) for event in new):
            raise InvalidEvent(
                f"the command {kind.name!r} leads to events with personal data, and marks no field as personal",
                "Mark those that are about people: Annotated[…, Personal(subject=…)]; they are kept as placeholders.",
            )
        fields = kind.shape.fields_of(command)
        for pointer, part in personal_parts(command).items() if kind.personal else ():
            place = place_of(fields, pointer)
            if place is not None:
                place[0][place[1]] = part.placeholder
        kept = RecordedCommand(kind.name, fields, len(new))
        new[0].metadata = {**(new[0].metadata or {}), COMMAND_KEY: msgspec.to_builtins(kept)}

    def kept_with(self, event: Event) -> RecordedCommand | None:
        """The command that is kept with this event; None where there is none."""
        if _MARK not in event.raw_metadata:
            return None
        try:
            return msgspec.convert(event.metadata.get(COMMAND_KEY), RecordedCommand)
        except msgspec.ValidationError:  # somebody else's metadata
            return None

    def read(self, kept: RecordedCommand) -> Any:
        """The command as an object. ``ValueError`` where its class is not here, or can't hold it."""
        kind = self._by_name.get(kept.type)
        if kind is None:
            raise ValueError(f"no class is given for the command {kept.type!r}")
        return kind.shape.from_fields(kept.fields)
