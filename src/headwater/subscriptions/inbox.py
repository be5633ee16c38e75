"""The inbox of a reactor: which events are handled beyond what its checkpoints say.

``inbox/<name>/<part>/<event id>``  the event was handled; removed some time after the part's checkpoint has passed it
"""

from __future__ import annotations

import uuid

import msgspec

from headwater.backend import Backend, RecordChange
from headwater.events import Event
from headwater.subscriptions.parking import parked_pages
from headwater.subscriptions.states import PartState, decoded, encoded, inbox_prefix, part_name

__all__ = ["Inbox", "noted_events"]

PAGE = 1_000
SWEEP_EVENTS = 100
"""After so many events, those that the checkpoint has passed are removed, in the write that notes the next one."""


class Noted(msgspec.Struct, frozen=True):
    """The value of a record: where the event is in the log."""

    position: int


async def noted_events(backend: Backend, reactor: str, part: int | None = None) -> dict[str, int]:
    """The names of the records, of one part or all, with the positions of their events. For a consumer: none."""
    noted: dict[str, int] = {}
    after = ""
    while records := await backend.load_records(inbox_prefix(reactor, part), after, PAGE):
        noted |= {record.name: decoded(record, Noted).position for record in records}
        after = records[-1].name
    return noted


class _Part:
    """The events noted for one part."""

    def __init__(self, noted: dict[bytes, int]) -> None:
        self.noted = noted  # by id, with their positions; all of them are in the store
        self.unsaved: set[bytes] = set()  # handled, but their records could not be written yet
        self.since_sweep = 0


class Inbox:
    """The events that were handled, by part. One durable write for each of them."""

    def __init__(self, backend: Backend, reactor: str) -> None:
        self._backend = backend
        self._reactor = reactor
        self._parts: dict[int, _Part] = {}

    async def open(self, part: int) -> None:
        """Find out what was handled by whoever had the part before, and clean up behind him."""
        prefix = inbox_prefix(self._reactor, part)
        noted = await noted_events(self._backend, self._reactor, part)
        self._parts[part] = _Part({uuid.UUID(name.removeprefix(prefix)).bytes: noted[name] for name in noted})
        passed = await self._passed(part)
        if passed:
            await self._backend.save_records([self._change(part, id, None) for id in passed])
            self._forget(part, passed)

    def holds(self, part: int, event: Event) -> bool:
        """Whether the event was handled."""
        known = self._parts[part]
        return event.raw_id in known.noted or event.raw_id in known.unsaved

    async def note(self, part: int, event: Event) -> None:
        """The event is handled: write that down, where it is not yet."""
        known = self._parts[part]
        if event.raw_id in known.noted:
            return
        known.unsaved.add(event.raw_id)  # should the write fail, the next attempt is to repeat it, not the handler
        known.since_sweep += 1
        passed = []
        if known.since_sweep >= SWEEP_EVENTS:
            passed, known.since_sweep = await self._passed(part), 0
        noted = encoded(Noted(event.position))
        removals = [self._change(part, id, None) for id in passed]
        await self._backend.save_records([self._change(part, event.raw_id, noted), *removals])
        self._forget(part, passed)
        known.noted[event.raw_id] = event.position
        known.unsaved.discard(event.raw_id)

    async def _passed(self, part: int) -> list[bytes]:
        """Noted events that can't come again: the part's checkpoint is past them, and they are not parked."""
        known = self._parts[part]
        if not known.noted:
            return []
        records = await self._backend.load_records(part_name(self._reactor, part))
        if not records:  # the reactor was dropped; whoever runs it is about to notice
            return []
        position = decoded(records[0], PartState).progress.position
        parked = {each.id async for page in parked_pages(self._backend, self._reactor) for each, _ in page}
        return [id for id, place in known.noted.items() if place <= position and str(uuid.UUID(bytes=id)) not in parked]

    def _forget(self, part: int, ids: list[bytes]) -> None:
        known = self._parts[part]
        for id in ids:
            del known.noted[id]

    def _change(self, part: int, id: bytes, value: bytes | None) -> RecordChange:
        return RecordChange(f"{inbox_prefix(self._reactor, part)}{uuid.UUID(bytes=id)}", value)
