"""The time by DynamoDB's clock, as well as it can be told.

DynamoDB gives its time only in the ``Date`` header of its answers, in whole seconds. Each answer so says that its
clock was between ``Date`` and a second later, at some moment between the request and the answer. This machine's own
clock counts as long as it agrees with all of these; where it does not, it is moved to the nearest time that does.
So two machines never differ by more than about a second, however wrong their own clocks are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

__all__ = ["Clock"]

KEPT_SECONDS = 300.0
"""Answers count for so long: clocks drift."""
SECOND = 1_000_000


class Clock:
    """Bounds on how far the service's clock is ahead of this machine's, in microseconds."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._begin(0.0)

    def _begin(self, at: float) -> None:
        self._since = at
        self._least = -(10**18)
        self._most = 10**18

    def sent(self) -> float:
        """When a request is sent: give it to ``answered``."""
        return self._now()

    def answered(self, sent: float, date: str | None) -> None:
        """An answer came, with this ``Date``."""
        received = self._now()
        if date is None or received < sent:  # the machine's clock was set back meanwhile
            return
        try:
            stamped = int(parsedate_to_datetime(date).timestamp()) * SECOND
        except ValueError:
            return
        least = stamped - int(received * SECOND)
        most = stamped + SECOND - int(sent * SECOND)
        if received - self._since > KEPT_SECONDS or least > self._most or most < self._least:
            self._begin(received)
        self._least = max(self._least, least)
        self._most = min(self._most, most)

    def ahead_us(self) -> int:
        """How far the service's clock is ahead of this machine's, at least; 0 where they may well agree."""
        return min(max(0, self._least), self._most)

    def now_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        return int(self._now() * SECOND) + self.ahead_us()
