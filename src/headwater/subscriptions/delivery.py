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
from headwater.errors import Fenced, StoreUnavailable
from headwater.events import Event, now_us
from headwater.subscriptions.parking import parked_pages
from headwater.subscriptions.partitions import KeyOf
from headwater.subscriptions.parts import Part
from headwater.subscriptions.settings import Every, OnFailure, Retry
from headwater.subscriptions.sinks import HandledSome, Sink
from headwater.subscriptions.states import Parked, encoded, parked_name

__all__ = ["Delivery"]

log = logging.getLogger("headwater.subscriptions")

SLICE_SECONDS = 0.05
"""How long handling a slice should last: progress, pauses and leases are looked at between slices."""
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
        self._blocked: dict[str, int] = {}  # key → position of the first event of it that was parked
        self._loop = asyncio.get_running_loop()
        self._going = asyncio.Event()
        self._going.set()

    def pause(self, *, paused: bool) -> None:
        """Handle nothing while ``paused``. From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended: nothing is handled there any more
            self._loop.call_soon_threadsafe(self._going.clear if paused else self._going.set)

    @property
    def blocking(self) -> bool:
        """Whether some key waits behind a parked event."""
        return bool(self._blocked)

    async def start(self, part: Part) -> None:
        """Find out where the sink goes on with this part, and which of its keys are blocked."""
        position = await self._sink.start(part.number, part.progress.position)
        if position != part.progress.position:
            part.start_at(position)
        if self._on_failure == "park_key":
            async for page in parked_pages(self._backend, self._consumer):
                for parked, _ in page:
                    if parked.part == part.number:
                        self._blocked.setdefault(parked.key, parked.position)

    async def deliver(self, part: Part, events: Sequence[Event], upto: int) -> None:
        """Handle the events; then the part stands at ``upto``. Raises ``Fenced``, or the handler's own error."""
        start = 0 if self._rerun else self._pass_over(part, events)
        while start < len(events):
            part.check_lease()
            if not self._going.is_set():
                await self._going.wait()
            slice_ = events[start : start + self._width]
            started = time.monotonic()
            await self._deliver_slice(part, slice_)
            start += len(slice_)
            self._fit_width(time.monotonic() - started)
            if part.unsaved >= self._every.events:
                await part.save()
        part.advance((), upto)

    def _pass_over(self, part: Part, events: Sequence[Event]) -> int:
        """Go past the events that were handled before a rewind; how many they are."""
        known = bisect.bisect_right(events, part.furthest, key=lambda event: event.position)
        part.advance(events[:known])
        return known

    async def _handle(self, part: Part, events: Sequence[Event]) -> None:
        async with part.handling:
            await self._sink.handle(part.number, events)

    def _fit_width(self, seconds: float) -> None:
        if self._batch is not None:
            return
        if seconds < SLICE_SECONDS / 2:
            self._width = min(self._width * 2, SLICE_EVENTS_MAX)
        elif seconds > SLICE_SECONDS:
            self._width = max(self._width // 2, 1)

    async def _deliver_slice(self, part: Part, events: Sequence[Event]) -> None:
        if self._blocked:
            for event in events:
                await self._deliver_one(part, event)
            return
        try:
            await self._handle(part, events)
        except Fenced:
            raise
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

    async def _one_by_one(self, part: Part, events: Sequence[Event]) -> None:
        for event in events:
            part.check_lease()
            await self._deliver_one(part, event)

    async def _deliver_one(self, part: Part, event: Event) -> None:
        if self._blocked and (first := self._blocked.get(self._key_of(event))):
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
        attempt = 1
        while True:
            cause = error.error if isinstance(error, HandledSome) else error
            part.error = f"position {event.position}, attempt {attempt}: {_said(cause)}"
            log.warning("consumer %s, part %d, %s", self._consumer, part.number, part.error)
            patient = isinstance(cause, StoreUnavailable) and cause.transient  # nothing is wrong with the event
            if not patient and not self._retry.again(attempt):
                break
            await asyncio.sleep(self._retry.pause(attempt))
            part.check_lease()
            attempt += 1
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
            self._blocked.setdefault(self._key_of(event), event.position)
        await self._park(part, event, _said(cause), attempt)

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
        part.advance([event])
        await part.save([RecordChange(parked_name(self._consumer, event.position), encoded(parked))])

    async def replay(self, part: Part, wanted: Sequence[Parked]) -> None:
        """Try parked events again, in order of position; after a failure, no more of that key."""
        failed: set[str] = set()
        for parked in wanted:
            name = parked_name(self._consumer, parked.position)
            event = await self._backend.event(uuid.UUID(parked.id).bytes)
            if event is None or parked.key in failed:
                continue
            part.check_lease()
            try:
                await self._handle(part, [event])
            except Fenced:
                raise
            except Exception as error:
                cause = error.error if isinstance(error, HandledSome) else error
                failed.add(parked.key)
                tried = msgspec.structs.replace(
                    parked, error=_said(cause), attempts=parked.attempts + 1, held=False, replay=False
                )
                await part.save([RecordChange(name, encoded(tried))])
            else:
                await part.save([RecordChange(name, None)])
        await self._unblock()

    async def _unblock(self) -> None:
        """Keys of which nothing is parked any more go on."""
        if not self._blocked:
            return
        still: dict[str, int] = {}
        async for page in parked_pages(self._backend, self._consumer):
            for parked, _ in page:
                still.setdefault(parked.key, parked.position)
        self._blocked = still


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS_MAX]
