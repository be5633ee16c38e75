"""States kept beside the log so that loading need not begin at the first event. Never the truth: any may be lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from headwater.errors import HeadwaterError
from headwater.events import Event, now_us
from headwater.keeping import Snapshots

__all__ = ["Kept", "KeptStates", "SnapshotEvery", "age_seconds"]

log = logging.getLogger("headwater.deciders")

S = TypeVar("S")


class SnapshotEvery(msgspec.Struct, frozen=True, kw_only=True):
    """When to keep a state: once so much came after the last snapshot; whichever is first. None: not by this."""

    events: int | None = 200
    seconds: float | None = None
    """Where the snapshot is so old, and any event came since."""
    bytes: int | None = None
    """Of the events' data."""

    def wanted(self, events: int, age_seconds: float, size: int) -> bool:
        """Whether it is time, after so many events of so many bytes."""
        return events > 0 and (
            (self.events is not None and events >= self.events)
            or (self.seconds is not None and age_seconds >= self.seconds)
            or (self.bytes is not None and size >= self.bytes)
        )


class Kept(msgspec.Struct, Generic[S]):
    """A state from a snapshot, of which the event that it ends with is still to be seen in the stream."""

    state: S
    version: int
    event_id: str
    saved_us: int
    subjects: tuple[str, ...]
    """The people whose personal data the state holds."""


class _Stored(msgspec.Struct):
    event_id: str
    state: Any


class KeptStates(Generic[S]):
    """The snapshots of one rule."""

    def __init__(self, snapshots: Snapshots, name: str, version: int, restore: Callable[[Any], S]) -> None:
        self._snapshots = snapshots
        self._name = name
        self._schema = f"{name}/{version}"
        self._restore = restore

    def _key(self, stream: str) -> str:
        return f"{self._name}:{stream}"

    async def load(self, stream: str) -> Kept[S] | None:
        """The last state that was kept; None where there is none that can be used."""
        found = await self._snapshots.load(self._key(stream), schema=self._schema)
        if found is None:
            return None
        try:
            stored = msgspec.convert(found.state, _Stored)
            return Kept(self._restore(stored.state), found.version, stored.event_id, found.saved_us, found.subjects)
        except Exception as error:  # whatever it is, the events tell the state
            log.warning("the snapshot of %s can't be used, its events are read instead: %s", stream, error)
            return None

    async def save(self, stream: str, dumped: Any, last: Event, subjects: Sequence[str]) -> None:
        """Keep the state after this event, sealed where it holds people's personal data. What goes wrong is logged: it
        costs time only."""
        try:
            value = _Stored(str(last.id), dumped)
            await self._snapshots.save(self._key(stream), last.version, value, schema=self._schema, subjects=subjects)
        except HeadwaterError as error:
            log.warning("no snapshot of %s: %s", stream, error)


def age_seconds(saved_us: int) -> float:
    """How long ago that was."""
    return (now_us() - saved_us) / 1e6
