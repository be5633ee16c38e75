"""Which markers of the outbox may get positions, and in which order."""

from __future__ import annotations

import random

from headwater.backends.dynamodb.rows import Row
from headwater.backends.dynamodb.sequencer import Marker, in_order


def _marker(name: str, committed_us: int, *commits: tuple[str, int]) -> Marker:
    return Marker(0, name, committed_us, [Row(stream, first, 1, 10, None) for stream, first in commits], 50)


def _readings(*markers: Marker) -> dict[str, Marker]:
    return {marker.name: marker for marker in markers}


def _names(markers: list[Marker]) -> list[str]:
    return [marker.name for marker in markers]


def test_what_the_first_reading_missed() -> None:
    """A query is no snapshot: it may show version 5 without version 4. The second reading has it, and it goes first."""
    four, five = _marker("b", 2, ("loan-1", 4)), _marker("a", 1, ("loan-1", 5))  # and clocks may lie
    assert _names(in_order(_readings(five), _readings(four, five))) == ["b", "a"]


def test_what_came_later_waits() -> None:
    """What only the second reading shows is not sequenced, unless something that is follows it: before it there may
    be what no reading showed."""
    one, two, other = _marker("a", 1, ("loan-1", 1)), _marker("b", 2, ("loan-1", 2)), _marker("c", 3, ("loan-2", 9))
    assert _names(in_order(_readings(one), _readings(one, two, other))) == ["a"]


def test_what_others_have_sequenced() -> None:
    """A marker that is gone in the second reading has its position."""
    one, two = _marker("a", 1, ("loan-1", 1)), _marker("b", 2, ("loan-1", 2))
    assert _names(in_order(_readings(one, two), _readings(two))) == ["b"]
    assert in_order(_readings(one), {}) == []


def test_across_streams() -> None:
    """Appends over several streams tie their streams together: what went before goes before, over any number."""
    chain = [
        _marker("a", 9, ("loan-1", 1)),
        _marker("b", 8, ("loan-1", 2), ("loan-2", 1)),
        _marker("c", 7, ("loan-2", 2), ("loan-3", 1)),
    ]
    assert _names(in_order(_readings(chain[2]), _readings(*chain))) == ["a", "b", "c"]


def test_any_two_readings() -> None:
    """Of a history of commits, whatever two readings show: nothing is sequenced before what it follows."""
    chance = random.Random(173688)
    for _ in range(200):
        versions = dict.fromkeys(["loan-1", "loan-2", "loan-3"], 0)
        history = []
        for number in range(12):
            streams = chance.sample(sorted(versions), chance.randint(1, 2))
            for stream in streams:
                versions[stream] += 1
            commits = [(stream, versions[stream]) for stream in streams]
            history.append(_marker(f"{chance.randrange(10**6)}-{number}", chance.randrange(9), *commits))
        began, ended = sorted(chance.sample(range(13), 2))
        first = history[:began] + [each for each in history[began:ended] if chance.random() < 0.5]
        second = history[:ended] + [each for each in history[ended:] if chance.random() < 0.5]
        ordered = in_order(_readings(*first), _readings(*second))
        assert {each.name for each in first} <= {each.name for each in ordered}
        reached = dict.fromkeys(versions, 0)
        for marker in ordered:
            for row in marker.rows:
                assert row.first == reached[row.partition] + 1
                reached[row.partition] = row.first
