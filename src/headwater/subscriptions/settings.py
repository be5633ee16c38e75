"""How a consumer is to be run: where it starts, how often it keeps its place, what it does with failures."""

from __future__ import annotations

import enum
import random
from typing import Literal

import msgspec

from headwater.errors import InvalidQuery

__all__ = ["BEGINNING", "NOW", "Every", "OnFailure", "Retry", "Start"]

OnFailure = Literal["park", "park_key", "stop"]
"""After the last attempt: put the event aside; put it and all later ones of its key aside; end the consumer."""


class Start(enum.Enum):
    """Where a consumer starts that has no checkpoint yet."""

    BEGINNING = "beginning"
    NOW = "now"

    def __repr__(self) -> str:
        return self.name


BEGINNING = Start.BEGINNING
NOW = Start.NOW


class Every(msgspec.Struct, frozen=True, kw_only=True):
    """How often a consumer keeps its place: after so many events or seconds, whichever is first, and when it stops."""

    events: int = 1_000
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.events < 1 or not 0 < self.seconds <= 3_600:
            raise InvalidQuery(f"{self!r} is no pace", "Give events from 1 up, and seconds between 0 and 3,600.")


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """How an event is tried again: ``attempts`` in all (None: for ever), with pauses that double from ``first`` seconds
    up to ``most``, each shortened at random by up to a half so that many consumers do not come in step."""

    attempts: int | None = 8
    first: float = 0.1
    most: float = 30.0

    def __post_init__(self) -> None:
        if (self.attempts is not None and self.attempts < 1) or not 0 <= self.first <= self.most:
            raise InvalidQuery(f"{self!r} can't be followed", "Give attempts from 1 up (or None) and 0 ≤ first ≤ most.")

    def pause(self, attempt: int) -> float:
        """Seconds to wait after this attempt (1 is the first) failed."""
        return min(self.most, self.first * 2.0 ** min(attempt - 1, 60)) * random.uniform(0.5, 1.0)

    def again(self, attempt: int) -> bool:
        """Whether there is an attempt after this one."""
        return self.attempts is None or attempt < self.attempts
