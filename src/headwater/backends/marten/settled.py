"""Up to where Marten's log is settled: nothing will appear at or below that position any more.

Marten draws its numbers from a sequence, and commits later; what fails leaves a hole for ever. So there are two ways:

* The run of numbers without a hole: each is stored, and none is stored twice. Nearly always, that is the whole log.
* Where a number is missing, its writer may still be at work, or be gone. A writer that draws while it writes holds the
  sequence's lock, which anybody may see, until it is over. Marten's ``Rich`` mode draws *before* its transaction
  begins, and holds nothing in between; where that transaction fails for no fault of its own, it sends it again, three
  times at most, with the same numbers. So a missing number is passed only when (1) it has been missing for
  ``gap_seconds`` (Marten's daemon waits 3 s too), which is time for such a writer to begin; (2) then every transaction
  has ended that had written anything in this database, or drawn a number, by that time; and (3) so have, three times
  more, those that were writing a moment after that.

The order of the steps matters: the highest number drawn first; then, after the pause, who is writing; and rows only
once all of those are gone, in a statement of their own. Locks go after the commit is visible.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

from headwater.backends.marten.url import Target
from headwater.backends.postgres.connections import Connections
from headwater.backends.postgres.statements import Statements
from headwater.errors import CorruptStore, StoreUnavailable

__all__ = ["Settled"]

ROWS = 10_000
"""Numbers that are looked at by one statement."""
WATCHES = 4
"""How many times in ``gap_seconds`` what is missing is taken down: what was by one time is passed together."""

WATCHES_MAX = 16
REPLAYS = 3
"""How often a transaction of Marten's that failed is sent again (its Polly pipeline for writes, by default) …"""
REPLAY_SECONDS = 0.5
"""… and how long after its end that has begun: the pauses there are 0.05, 0.1 and 0.2 s."""


class _Watch:
    """The numbers that were drawn by some moment, and who may still store one of them."""

    def __init__(self, upto: int, since: float, pause: float) -> None:
        self.upto = upto
        self.since = since
        self.look_at = since + pause
        self.rounds = 1 + REPLAYS if pause else 1
        self.writers: set[str] | None = None
        """Who was writing at the last look, and is not over yet; None before it."""

    def over(self, writers: set[str], now: float) -> bool:
        """Whether all are gone who may store one of the numbers, where these are writing now."""
        self.writers = writers if self.writers is None else self.writers & writers
        if self.writers:
            return False
        self.rounds -= 1
        self.writers, self.look_at = None, now + REPLAY_SECONDS
        return self.rounds <= 0


class Settled:
    """See ``headwater.backends.postgres.gate.Horizon``."""

    def __init__(
        self, connections: Connections, statements: Statements, target: Target, clock: Callable[[], float] = monotonic
    ) -> None:
        self.known = 0
        self._clock = clock
        self._connections = connections
        self._statements = statements
        self._target = target
        self._watches: deque[_Watch] = deque()
        self._asking = asyncio.Lock()

    async def horizon(self) -> int:
        """See ``Horizon.horizon``."""
        async with self._asking:
            while True:
                self._watch(await self._walk())
                if not await self._pass_over():
                    return self.known

    async def _walk(self) -> int:
        """Follow the run of numbers from what is known to its end. Gives the highest number that anybody has drawn.

        A long run is left where a watch that is under way will pass over all of it soon.
        """
        while True:
            ((end, rows, top, drawn),) = await self._connections.rows(
                self._statements["run"], {"after": self.known, "most": ROWS}
            )
            self._check(drawn, rows)
            self.known = max(self.known, end)
            if rows < ROWS or end < top:
                return int(drawn)
            if not self._watches:
                self._watch(drawn)
            await self._pass_over()

    def _check(self, drawn: int, rows_above: int) -> None:
        if drawn < self.known and not rows_above:
            raise CorruptStore(
                self._target.server.shown,
                f"its sequence is at {drawn}, but readers have been at {self.known}",
                "Was the database restored, or the sequence reset? Set it above every number that was ever drawn, and "
                "open the store with another own=.",
            )

    def _watch(self, drawn: int) -> None:
        """Take down what is missing, where something is."""
        while self._watches and self._watches[0].upto <= self.known:
            self._watches.popleft()
        now = self._clock()
        pause = self._target.gap_seconds / WATCHES
        if drawn <= self.known or (self._watches and now - self._watches[-1].since < pause):
            return
        if len(self._watches) == WATCHES_MAX:  # while a writer takes long
            self._watches.pop()
        self._watches.append(_Watch(drawn, now, self._target.gap_seconds))

    async def _pass_over(self) -> bool:
        """Pass the missing numbers of a watch, where nobody can store one any more. Of several, the last one."""
        now = self._clock()
        due = [watch for watch in self._watches if now >= watch.look_at]
        if not due:
            return False
        writers = await self._writers()
        over = [watch for watch in due if watch.over(writers, now)]
        if not over:
            return False
        upto = over[-1].upto
        if upto > self.known:
            await self._note(upto)
            self.known = upto
        while self._watches and self._watches[0].upto <= upto:
            self._watches.popleft()
        return True

    async def _note(self, upto: int) -> None:
        """Say it before anything is read behind it, so that no other process is of another opinion. A role that may
        only read keeps it to itself."""
        try:
            await self._connections.rows(self._statements["pass_over"], {"after": self.known, "upto": upto})
        except StoreUnavailable as error:
            if error.transient:
                raise

    async def _writers(self) -> set[str]:
        """The transactions that may have drawn a number, or are about to store one."""
        return {row[0] for row in await self._connections.rows(self._statements["writers"])}
