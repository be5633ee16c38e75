"""Delivering a part's events to the sink: in slices that last about a twentieth of a second, again after a failure,
and put aside after the last attempt."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import logging
import time
import uuid
from collections.abc import Sequence

import msgspec

from headwater.backend import Backend, RecordChange
from headwater.errors import Fenced, StaleRecord, StoreUnavailable
from headwater.events import Event, now_us
from headwater.subscriptions.parking import parked_pages
from headwater.subscriptions.partitions import KeyOf
from headwater.subscriptions.parts import Part
from headwater.subscriptions.settings import Every, OnFailure, Retry
from headwater.subscriptions.sinks import SLICE_SECONDS, HandledInTime, HandledSome, Sink
from headwater.subscriptions.states import Parked, decoded, encoded, parked_name

__all__ = ["Delivery"]

log = logging.getLogger("headwater.subscriptions")

SLICE_EVENTS_MAX = 1_000
ERROR_CHARACTERS_MAX = 2_000


class Delivery:
    """Hands events to the sink, keeping what is decided once for a whole consumer."""

    def __init__(
        self,
        backend: Backend,
        consumer: str,
        sink: Sink,
        *,
        batch: int | None,
        every: Every,
        retry: Retry,
        on_failure: OnFailure,
        key_of: KeyOf,
        rerun: bool = True,
    ) -> None:
        self._backend = backend
        self._consumer = consumer
        self._sink = sink
        self._batch = batch
        self._every = every
        self._retry = retry
        self._on_failure = on_failure
        self._key_of = key_of
        self._rerun = rerun  # whether events that were handled before come again after a rewind
        self._width = batch or 1
        self._blocked: dict[int, dict[str, int]] = {}  # part → key → position of the first event of it that was parked
        self._loop = asyncio.get_running_loop()
        self._going = asyncio.Event()
        self._going.set()

    def pause(self, *, paused: bool) -> None:
        """Handle nothing while ``paused``. From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended: nothing is handled there any more
            self._loop.call_soon_threadsafe(self._going.clear if paused else self._going.set)

    def blocks(self, part: int) -> bool:
        """Whether some key of the part waits behind a parked event."""
        return bool(self._blocked.get(part))

    async def start(self, part: Part) -> None:
        """Find out where the sink goes on with this part, and which of its keys are blocked."""
        position = await self._sink.start(part.number, part.progress.position)
        if position != part.progress.position:
            part.start_at(position)
        self._blocked[part.number] = await self._parked_keys(part) if self._on_failure == "park_key" else {}

    async def deliver(self, part: Part, events: Sequence[Event], upto: int) -> None:
        """Handle the events; then the part stands at ``upto``. Raises ``Fenced``, or the handler's own error."""
        start = 0 if self._rerun else self._pass_over(part, events)
        while start < len(events):
            slice_ = events[start : start + self._slice_events(part)]
            started = time.monotonic()
            start += await self._deliver_slice(part, slice_)
            self._fit_width(time.monotonic() - started)
            if part.unsaved >= self._every.events:
                await self._save(part)
        part.advance((), upto)

    def _pass_over(self, part: Part, events: Sequence[Event]) -> int:
        """Go past the events that were handled before a rewind; how many they are."""
        known = bisect.bisect_right(events, part.furthest, key=lambda event: event.position)
        part.advance(events[:known])
        return known

    async def _handle(self, part: Part, events: Sequence[Event]) -> None:
        await self._going.wait()
        part.check_lease()
        async with part.handling:
            await self._sink.handle(part.number, events)

    async def _save(self, part: Part, changes: Sequence[RecordChange] = (), passing: Event | None = None) -> None:
        """Keep the part's checkpoint, once the store can be reached: nothing more is handled before."""
        attempt = 1
        while True:
            try:
                return await part.save(changes, passing=passing)
            except StoreUnavailable as error:
                if not error.transient:
                    raise
                log.warning("consumer %s, part %d: %s", self._consumer, part.number, error)
            await asyncio.sleep(self._retry.pause(attempt))
            attempt += 1

    def _slice_events(self, part: Part) -> int:
        """How many events are handed over at once: batches as they are wanted, else no more than up to the next
        checkpoint."""
        return self._width if self._batch is not None else min(self._width, max(1, self._every.events - part.unsaved))

    def _fit_width(self, seconds: float) -> None:
        if self._batch is not None:
            return
        if seconds < SLICE_SECONDS / 2:
            self._width = min(self._width * 2, SLICE_EVENTS_MAX)
        elif seconds > SLICE_SECONDS:
            self._width = max(self._width // 2, 1)

    async def _deliver_slice(self, part: Part, events: Sequence[Event]) -> int:
        """Deliver these events, or as many of them as there is time for; how many that were."""
        if self.blocks(part.number):
            await self._one_by_one(part, events)
            return len(events)
        try:
            await self._handle(part, events)
        except Fenced:
            raise
        except HandledInTime as some:
            part.advance(events[: some.done])
            return some.done
        except HandledSome as some:
            part.advance(events[: some.done])
            await self._again(part, events[some.done], some.error)
            await self._one_by_one(part, events[some.done + 1 :])
        except Exception as error:
            if len(events) == 1:
                await self._again(part, events[0], error)
            else:  # one of them may be to blame
                await self._one_by_one(part, events)
        else:
            part.advance(events)
        return len(events)

    async def _one_by_one(self, part: Part, events: Sequence[Event]) -> None:
        for event in events:
            await self._deliver_one(part, event)

    async def _deliver_one(self, part: Part, event: Event) -> None:
        blocked = self._blocked[part.number]
        if blocked and (first := blocked.get(self._key_of(event))):
            await self._park(part, event, f"waits behind position {first} of its key", 0, held=True)
            return
        try:
            await self._handle(part, [event])
        except Fenced:
            raise
        except Exception as error:
            await self._again(part, event, error)
        else:
            part.advance([event])

    async def _again(self, part: Part, event: Event, error: Exception) -> None:
        """The event failed once. Try it again, and at last do as ``on_failure`` says."""
        attempt = failures = 0
        while True:
            attempt += 1
            cause = error.error if isinstance(error, HandledSome) else error
            part.error = f"position {event.position}, attempt {attempt}: {_said(cause)}"
            log.warning("consumer %s, part %d, %s", self._consumer, part.number, part.error)
            if not (isinstance(cause, StoreUnavailable) and cause.transient):  # else nothing is wrong with the event
                failures += 1
                if not self._retry.again(failures):
                    break
            await asyncio.sleep(self._retry.pause(attempt))
            try:
                await self._handle(part, [event])
            except Fenced:
                raise
            except Exception as failed:
                error = failed
            else:
                part.advance([event])
                return
        if self._on_failure == "stop":
            raise cause
        if self._on_failure == "park_key":
            self._blocked[part.number].setdefault(self._key_of(event), event.position)
        await self._park(part, event, _said(cause), failures)

    async def _park(self, part: Part, event: Event, error: str, attempts: int, *, held: bool = False) -> None:
        """Put the event aside and go past it, in one."""
        parked = Parked(
            position=event.position,
            id=str(event.id),
            stream=event.stream,
            type=event.type,
            key=self._key_of(event),
            part=part.number,
            error=error,
            attempts=attempts,
            parked_us=now_us(),
            held=held,
        )
        change = RecordChange(parked_name(self._consumer, event.position), encoded(parked))
        await self._save(part, [change], passing=event)

    def replayable(self, parked: Parked, waiting: set[str]) -> bool:
        """Whether to try this parked event again; asked in order of position. ``waiting``: keys that stay blocked.

        Those that somebody asked for; and those that only waited behind another one of their key, once that is gone.
        Where an event blocks its key, nothing behind it is tried before it.
        """
        if parked.key in waiting:
            return False
        if parked.replay or parked.held:
            return True
        if self._on_failure == "park_key":
            waiting.add(parked.key)
        return False

    async def replay(self, part: Part, positions: Sequence[int]) -> None:
        """Try parked events again, in order of position."""
        waiting: set[str] = set()
        for position in positions:
            name = parked_name(self._consumer, position)
            records = await self._backend.load_records(name, limit=1)
            if not records:  # dropped, or tried already
                continue
            (record,) = records
            parked = decoded(record, Parked)
            event = await self._backend.event(uuid.UUID(parked.id).bytes)
            if event is not None and self.replayable(parked, waiting):
                tried = await self._tried(part, parked, event)
                if tried is None:
                    await self._save(part, [RecordChange(name, None)])
                    continue
                if self._on_failure == "park_key":
                    waiting.add(parked.key)
                with contextlib.suppress(StaleRecord):  # dropped meanwhile, or asked for again: so it stays
                    await self._save(part, [RecordChange(name, encoded(tried), record.revision)])
        if self.blocks(part.number):
            self._blocked[part.number] = await self._parked_keys(part)

    async def _tried(self, part: Part, parked: Parked, event: Event) -> Parked | None:
        """Try a parked event once; what stays parked, None where it is handled."""
        try:
            await self._handle(part, [event])
        except Fenced:
            raise
        except Exception as error:
            cause = error.error if isinstance(error, HandledSome) else error
            return msgspec.structs.replace(
                parked, error=_said(cause), attempts=parked.attempts + 1, held=False, replay=False
            )
        return None

    async def _parked_keys(self, part: Part) -> dict[str, int]:
        """The part's keys of which something is parked, each with the first position."""
        keys: dict[str, int] = {}
        async for page in parked_pages(self._backend, self._consumer):
            for parked, _ in page:
                if parked.part == part.number:
                    keys.setdefault(parked.key, parked.position)
        return keys


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS_MAX]
