"""Appends for later: kept in the store until they are due, then appended by whoever runs the schedule.

``scheduled/<due>/<id>``  an append that waits for its time; ``due`` in microseconds, so names are in order of time
``refused/<due>/<id>``    one that the store refused when it was due
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import msgspec

from headwater.backend import Backend, Record, RecordChange, Write
from headwater.codecs import people_in
from headwater.errors import (
    AppendRefused,
    DuplicateEvent,
    InvalidEvent,
    NotSupported,
    OutcomeUnknown,
    StaleRecord,
    StoreUnavailable,
    StreamDeleted,
)
from headwater.events import EventRecord, NewEvent, datetime_of, microseconds_of, now_us
from headwater.limits import Limits
from headwater.subscriptions.states import decoded, encoded
from headwater.waiting import Signal
from headwater.writing import Append, encoded_write, sealed

__all__ = ["Scheduled", "ScheduledEvents"]

log = logging.getLogger("headwater.subscriptions")

WAITING, REFUSED = "scheduled/", "refused/"
LAST_US = microseconds_of(datetime.max.replace(tzinfo=UTC))
PAGE = 100
LOOK_SECONDS = 1.0
"""What other processes schedule is seen after so long at most."""


class Scheduled(msgspec.Struct, frozen=True):
    """An append that waits for its time, as it is kept in the store."""

    id: str
    """The id of its first event."""
    stream: str | None
    due_us: int
    """When it is to be appended: microseconds since 1970-01-01 UTC."""
    events: tuple[EventRecord, ...]
    taken: bool = False
    """Some runner has begun to append it: it can't be cancelled any more."""
    error: str = ""
    """Why the store refused it when it was due; '' where it still waits."""

    @property
    def due_at(self) -> datetime:
        """When it is to be appended, in UTC."""
        return datetime_of(self.due_us)

    @property
    def types(self) -> tuple[str, ...]:
        """The types of its events, in order."""
        return tuple(event.type for event in self.events)


class ScheduledEvents:
    """Appends for later, kept in the store. From ``store.scheduled``.

    They are appended while some process runs ``await store.scheduled.run()``; several may. The event ids were made when
    the append was scheduled, so a runner that is killed between an append and the removal of its record doubles
    nothing. Times are compared with the clock of the process that runs.
    """

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self._backend = backend
        self._limits = limits
        self._signal = Signal()
        self._stops = 0

    async def add(
        self, stream: str | None, events: Sequence[NewEvent] | NewEvent, *, due: datetime | timedelta
    ) -> Scheduled:
        """Append these events at a moment (with a time zone), or after some time from now.

        What can't be appended is refused now, as by ``store.append``: ``InvalidEvent``, ``TooLarge``,
        ``StreamDeleted``. The same events for the same moment again change nothing.
        """
        self._check_supported()
        given = (events,) if isinstance(events, NewEvent) else events
        (write,) = await sealed(self._backend, [encoded_write(Append(stream, given), self._limits)])
        if stream is not None and (info := await self._backend.stream(stream)) and info.state == "tombstoned":
            raise StreamDeleted(stream)
        added = Scheduled(str(uuid.UUID(bytes=write.records[0].id)), stream, _due_us(due), write.records)
        name = _name(WAITING, added)
        try:
            await self._backend.save_records([RecordChange(name, encoded(added), 0)])
        except StaleRecord:
            for record in await self._backend.load_records(name, limit=1):
                if not _alike(decoded(record, Scheduled).events, added.events):
                    raise DuplicateEvent(
                        [added.id], "other events with this id are scheduled for that moment"
                    ) from None
        self._signal.notify()
        return added

    async def all(self) -> AsyncGenerator[Scheduled, None]:
        """What is scheduled, in order of time; then what was refused when it was due."""
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                for each in page:
                    yield each

    async def cancel(self, id: uuid.UUID | str) -> bool:
        """Forget what is scheduled under this id. False where there is no such thing, or a runner has begun with it."""
        self._check_supported()
        wanted = f"/{NewEvent('id', None, id=id).id}"
        cancelled = False
        async with aclosing(self._records()) as pages:
            async for page in pages:
                for record in page:
                    if record.name.endswith(wanted):
                        cancelled |= await self._cancel(record)
        return cancelled

    async def append_due(self) -> int:
        """Append what is due by now, in order of time; how many appends were made.

        What the store refuses is put aside with the reason: see ``all``, and ``cancel`` it.
        """
        self._check_supported()
        count = 0
        while taken := await self._take():
            settled: list[RecordChange] = []
            for name, each in taken:
                error = await self._append(each)
                settled.append(RecordChange(name, None))
                if error:
                    refused = msgspec.structs.replace(each, error=error)
                    settled.append(RecordChange(_name(REFUSED, refused), encoded(refused)))
                count += not error
            await self._backend.save_records(settled)
        return count

    async def run(self) -> None:
        """Append what is due when it is due, until ``stop`` or cancellation.

        What is added through this object is on time; what another process adds is seen within a second. While the store
        is away, it is tried again every second.
        """
        self._check_supported()
        stops = self._stops
        while self._stops == stops:
            news = self._signal.subscribe()
            try:
                pause = await self._work()
            except BaseException:
                self._signal.cancel(news)
                raise
            await self._signal.wait(news, pause)

    def stop(self) -> None:
        """Let every ``run`` of this object end, after the appends that it has begun with."""
        self._stops += 1
        self._signal.notify()

    async def _work(self) -> float:
        """Append what is due; for how many seconds there is nothing to do then."""
        try:
            await self.append_due()
            following = await self._backend.load_records(WAITING, limit=1)
        except (StoreUnavailable, OutcomeUnknown) as error:
            if isinstance(error, StoreUnavailable) and not error.transient:
                raise
            log.warning("scheduled appends: %s", error)
            return LOOK_SECONDS
        seconds = [(decoded(record, Scheduled).due_us - now_us()) / 1e6 for record in following]
        return max(0.0, min([LOOK_SECONDS, *seconds]))

    async def _take(self) -> list[tuple[str, Scheduled]]:
        """What is due, with its names, marked so that it can't be cancelled any more."""
        while True:
            records = await self._backend.load_records(WAITING, limit=PAGE)
            found = [(record, decoded(record, Scheduled)) for record in records]
            now = now_us()
            due = [(record, each) for record, each in found if each.due_us <= now]
            marks = [
                RecordChange(record.name, encoded(msgspec.structs.replace(each, taken=True)), record.revision)
                for record, each in due
                if not each.taken
            ]
            try:
                if marks:
                    await self._backend.save_records(marks)
            except StaleRecord:  # something was cancelled, or taken by another runner: look again
                continue
            return [(record.name, each) for record, each in due]

    async def _append(self, each: Scheduled) -> str:
        """Append it, if it is not there already. Why it was refused; '' where it was not."""
        try:
            await self._backend.append([Write(each.stream, each.events)])
        except AppendRefused as refused:
            log.error("scheduled append %s to %s: %s", each.id, each.stream, refused)
            return f"{type(refused).__name__}: {refused}"
        return ""

    async def _cancel(self, record: Record) -> bool:
        each = decoded(record, Scheduled)
        if each.taken and not each.error:
            return False
        try:
            await self._backend.save_records([RecordChange(record.name, None, record.revision)])
        except StaleRecord:  # a runner has just taken it
            return False
        return True

    async def _pages(self) -> AsyncGenerator[list[Scheduled], None]:
        self._check_supported()
        async with aclosing(self._records()) as pages:
            async for records in pages:
                yield [decoded(record, Scheduled) for record in records]

    async def _records(self) -> AsyncGenerator[list[Record], None]:
        for prefix in (WAITING, REFUSED):
            after = ""
            while records := await self._backend.load_records(prefix, after, PAGE):
                yield records
                after = records[-1].name

    def _check_supported(self) -> None:
        if not self._backend.capabilities.records:
            raise NotSupported(
                self._backend.capabilities.backend, "scheduled appends", "Append at that time from a program of yours."
            )


def _name(prefix: str, each: Scheduled) -> str:
    return f"{prefix}{each.due_us:020d}/{each.id}"


def _alike(some: Sequence[EventRecord], others: Sequence[EventRecord]) -> bool:
    """Whether these are the same events. What is sealed never looks the same twice."""
    return [_visible(each) for each in some] == [_visible(each) for each in others]


def _visible(record: EventRecord) -> EventRecord:
    return msgspec.structs.replace(record, data=b"", metadata=b"") if people_in(record.metadata) else record


def _due_us(due: datetime | timedelta) -> int:
    """The moment in microseconds; one before 1970 is as due as one after it."""
    if isinstance(due, timedelta):
        moment = now_us() + due // timedelta(microseconds=1)
    elif isinstance(due, datetime) and due.tzinfo is not None:
        moment = microseconds_of(due)
    else:
        raise InvalidEvent(
            f"due is {due!r}", "Give a datetime with a time zone, e.g. datetime.now(UTC), or a timedelta from now."
        )
    if moment > LAST_US:
        raise InvalidEvent(f"due is {due!r}, after the year 9999", "Give a moment before that.")
    return max(0, moment)
