"""A part of a consumer, as the member that holds it sees it: its progress, its lease, and what waits to be handled."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

import msgspec

from headwater.backend import Backend, RecordChange
from headwater.errors import Fenced, StaleRecord
from headwater.events import Event
from headwater.subscriptions.states import PartState, Progress, advanced, encoded, part_name

__all__ = ["Chunk", "Part", "Replay", "Ticket", "restarted"]

RATE_SECONDS = 5.0
"""Over how long a rate is smoothed."""


class Ticket:
    """A page on its way through the parts: gone when each of them has handled its share, so that pages stay few."""

    def __init__(self, gone: Callable[[], None]) -> None:
        self._gone = gone
        self._shares = 0

    def take(self) -> None:
        """One more share."""
        self._shares += 1

    def give_back(self) -> None:
        """One share less; the last one lets the next page in."""
        self._shares -= 1
        if not self._shares:
            self._gone()


class Chunk(msgspec.Struct, frozen=True):
    """A page's share for one part. ``upto``: nothing else of the part stands up to this position."""

    events: Sequence[Event]
    upto: int
    ticket: Ticket


class Replay(msgspec.Struct, frozen=True):
    """Parked events of the part to be tried again, in its turn, so that nothing of their keys runs beside them."""

    positions: Sequence[int]


class Part:
    """One share of a consumer. Its record holds progress and lease; its revision is the fencing token."""

    def __init__(
        self, backend: Backend, consumer: str, number: int, state: PartState, revision: int, held_until: float
    ) -> None:
        self.number = number
        self.progress = state.progress
        self.fed = state.progress.position
        """Up to here events were put into the queue."""
        self.queue: asyncio.Queue[Chunk | Replay] = asyncio.Queue()
        self.replay_waits = False
        """Whether parked events are in the queue: with a slow handler, once is enough."""
        self.worker: asyncio.Task[None] | None = None
        self.error = state.error
        self.furthest = state.furthest
        """Up to here events of the part were handled before this member took it: above its position after a rewind."""
        self.handling = asyncio.Lock()
        """Held while the sink handles events: whoever takes it stops the part between two slices."""
        self._backend = backend
        self._consumer = consumer
        self._state = state
        self._revision = revision
        self._held_until = held_until
        self._saving = asyncio.Lock()
        self._saved_at = time.monotonic()

    @property
    def unsaved(self) -> int:
        """Events handled since the last checkpoint, or since the account began anew."""
        return self._since_saved(self.progress)

    def _since_saved(self, progress: Progress) -> int:
        known = self._state.progress
        return max(0, progress.count - (known.count if known.since == progress.since else 0))

    @property
    def changed(self) -> bool:
        """Whether the record is behind."""
        return self.progress != self._state.progress or self.error != self._state.error

    def lease_left(self) -> float:
        """Seconds until another member may take the part over; by this process's own clock, counted from before the
        lease was written, so never too many."""
        return self._held_until - time.monotonic()

    def check_lease(self) -> None:
        """Raise ``Fenced`` where the lease has run out: this process may have been frozen for long."""
        if self.lease_left() <= 0:
            raise Fenced(self._consumer, self.number)

    def start_at(self, position: int) -> None:
        """Go on from another position: the account starts anew there."""
        self.progress = restarted(position)
        self.fed = position

    def advance(self, events: Sequence[Event], upto: int | None = None) -> None:
        """These events are handled."""
        self.progress = advanced(self.progress, events, upto)

    async def settle(self, seconds: float) -> bool:
        """Wait until what is being handled is handled, at most so long, and let nothing more begin. Whether it is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self.handling.acquire()
        return False

    async def save(
        self, changes: Sequence[RecordChange] = (), *, passing: Event | None = None, release: bool = False
    ) -> None:
        """Write the checkpoint and renew the lease (or ``release`` it), and with them make other ``changes``.

        ``passing``: the part goes past this event when, and only when, all of that is written. Raises ``Fenced`` where
        another member holds the part by now, or it was rewound: nothing is written then. Goes on to its end where the
        caller is cancelled: else nobody would know the record's revision any more.
        """
        await asyncio.shield(self._save(changes, passing, release=release))

    async def _save(self, changes: Sequence[RecordChange], passing: Event | None, *, release: bool) -> None:
        async with self._saving:
            asked_at = time.monotonic()
            progress = advanced(self.progress, [passing]) if passing is not None else self.progress
            state = self._next_state(progress, asked_at, release=release)
            name = part_name(self._consumer, self.number)
            try:
                revisions = await self._backend.save_records(
                    [RecordChange(name, encoded(state), self._revision), *changes]
                )
            except StaleRecord as stale:
                if stale.name == name:
                    raise Fenced(self._consumer, self.number) from stale
                raise
            if passing is not None:
                self.progress = progress
            self._revision = revisions[0]
            self._held_until = asked_at + state.lease_us / 1e6
            self._state = state
            self._saved_at = asked_at

    def _next_state(self, progress: Progress, now: float, *, release: bool) -> PartState:
        seconds = max(1e-6, now - self._saved_at)
        weight = min(1.0, seconds / RATE_SECONDS)
        return msgspec.structs.replace(
            self._state,
            progress=progress,
            owner="" if release else self._state.owner,
            furthest=max(self._state.furthest, progress.position),
            rate=round((1 - weight) * self._state.rate + weight * self._since_saved(progress) / seconds, 3),
            error=self.error,
        )

    def forget_queue(self) -> None:
        """Let go of what waits: somebody else will read it again."""
        while not self.queue.empty():
            waiting = self.queue.get_nowait()
            if isinstance(waiting, Chunk):
                waiting.ticket.give_back()
        self.fed = self.progress.position


def restarted(position: int) -> Progress:
    """The progress of a part that starts (again) behind a position."""
    return Progress(position, position)
