"""Stored events that are read as several, and several that are read as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from headwater.events import Event

__all__ = ["Merge", "Merging", "Part", "Run", "Split"]

Part = tuple[str, int, dict[str, Any]]
"""Type, version and fields of an event as it is to be read."""


class Split(msgspec.Struct, frozen=True):
    """An event of this type and version is read as several.

    ``into`` takes its fields and gives ``(type, version, fields)`` for each; an empty list where it means nothing now.
    """

    type: str
    version: int
    into: Callable[[dict[str, Any]], Sequence[Part]]


class Merge(msgspec.Struct, frozen=True):
    """Events of these types that follow one another directly in a stream are read as one.

    ``into`` takes the fields of each, in order, and gives the ``(type, version, fields)`` of the one.
    """

    types: tuple[str, ...]
    into: Callable[[list[dict[str, Any]]], Part]


Run = tuple[list[Event], Merge | None]
"""Events that are read as one, by this merge; or a single one as it is."""


class Merging:
    """Holds events back that may be the beginning of a merge, one run for each stream."""

    def __init__(self, merges: Sequence[Merge]) -> None:
        self._merges = merges
        self._held: list[Event] = []

    def take(self, event: Event) -> Iterator[Run]:
        """One event more: what is ready to be read."""
        if not self._merges:
            yield [event], None
            return
        if self._held and event.stream != self._held[0].stream:
            yield from self.end()
        self._held.append(event)
        while self._held:
            whole = next((each for each in self._merges if self._types() == each.types), None)
            if whole is not None:
                run, self._held = self._held, []
                yield run, whole
            elif any(each.types[: len(self._held)] == self._types() for each in self._merges):
                return
            else:
                yield [self._held.pop(0)], None

    def end(self) -> Iterator[Run]:
        """Nothing follows what is held."""
        held, self._held = self._held, []
        for each in held:
            yield [each], None

    def _types(self) -> tuple[str, ...]:
        return tuple(each.type for each in self._held)
