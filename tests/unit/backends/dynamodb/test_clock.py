"""The time by the service's clock, from answers that tell whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

from headwater.backends.dynamodb.clock import Clock


class _Machine:
    """A machine whose clock is ahead of the service's, and answers that take a while."""

    def __init__(self, ahead: float) -> None:
        self.true = 1_800_000_000.25
        self.ahead = ahead
        self.clock = Clock(lambda: self.true + self.ahead)

    def call(self, takes: float = 0.01) -> None:
        sent = self.clock.sent()
        self.true += takes / 2
        date = format_datetime(datetime.fromtimestamp(int(self.true), UTC), usegmt=True)
        self.true += takes / 2
        self.clock.answered(sent, date)

    @property
    def off(self) -> float:
        """Seconds between the clock's time and the service's."""
        return self.clock.now_us() / 1e6 - self.true


def test_right_clock_is_left_alone() -> None:
    """A clock that agrees with all answers counts to the microsecond."""
    machine = _Machine(0.0)
    for _ in range(50):
        machine.call()
        machine.true += 0.07
    assert abs(machine.off) < 1e-5


def test_wrong_clocks_are_moved() -> None:
    """However wrong it is, after one answer it is within a second; after more, nearer."""
    for ahead in (-3600.0, -2.0, 1.5, 86_400.0):
        machine = _Machine(ahead)
        machine.call()
        assert abs(machine.off) < 1.1
        for _ in range(50):
            machine.true += 0.093
            machine.call()
        assert abs(machine.off) < 0.12


def test_clock_that_jumps() -> None:
    """A machine whose clock is set while the store is open is seen by the next answer."""
    machine = _Machine(0.0)
    machine.call()
    machine.ahead = 500.0
    machine.call()
    assert abs(machine.off) < 1.1


def test_answers_without_a_usable_date() -> None:
    """What is no date changes nothing."""
    machine = _Machine(0.0)
    for date in (None, "", "yesterday"):
        machine.clock.answered(machine.clock.sent(), date)
    assert abs(machine.off) < 1e-5
