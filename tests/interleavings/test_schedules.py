"""Every schedule of a small world, and random ones of a larger world: no reader ever misses or reverses.

That the tests can fail is tested too: each wrong order of the steps loses an event under some schedule.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.interleavings.steps import READER, WRITER, Log, Reader, Writer

REAL = ("horizon", "rows")
"""The reader's steps by the store's own function."""


def schedules(**turns: int) -> Iterator[tuple[str, ...]]:
    """Every order in which the actors can make so many turns each."""
    actors = sorted(turns)
    if not actors:
        yield ()
    for actor in actors:
        left = {**turns, actor: turns[actor] - 1}
        for rest in schedules(**{each: count for each, count in left.items() if count}):
            yield actor, *rest


def lost(log: Log, schedule: Sequence[str], *, writer: Sequence[str], reader: Sequence[str], fails: bool) -> set[int]:
    """Run a schedule of one slow writer, one that appends at once, and a reader. Gives the events never seen.

    Asserts that nothing is seen twice, or in reverse, or though it was rolled back.
    """
    slow = Writer(log, order=writer, fails=fails)
    following = Reader(log, order=reader)
    committed = []
    for actor in schedule:
        if actor == "slow":
            assert slow.step()
        elif actor == "reader":
            following.step()
        else:
            quick = Writer(log)
            while not quick.done:
                assert quick.step()
            committed.append(quick.position)
    committed += [slow.position] if slow.committed else []
    seen = following.read()
    log.give_back(following.connection)
    assert sorted(set(seen)) == seen
    assert set(seen) <= set(committed)
    return set(committed) - set(seen)


@pytest.mark.parametrize("fails", [False, True], ids=["commit", "rollback"])
@pytest.mark.parametrize("reader", [READER, REAL], ids=["steps", "function"])
def test_no_schedule_loses_an_event(log: Log, reader: Sequence[str], fails: bool) -> None:
    """The slow writer may stall between any two of its steps, the reader too, and another append come anywhere."""
    for schedule in schedules(slow=len(WRITER), quick=1, reader=len(reader)):
        assert lost(log, schedule, writer=WRITER, reader=reader, fails=fails) == set(), schedule


@pytest.mark.parametrize(
    "reader",
    [("locks", "last value", "rows"), ("rows", "last value", "locks"), ("last value", "rows", "locks")],
    ids=" then ".join,
)
def test_a_reader_in_another_order_loses_events(log: Log, reader: Sequence[str]) -> None:
    found = (
        schedule
        for schedule in schedules(slow=len(WRITER), reader=len(reader))
        if lost(log, schedule, writer=WRITER, reader=reader, fails=False)
    )
    assert next(found, None) is not None


@pytest.mark.parametrize(
    "writer",
    [
        ("gate", "draw", "last value", "lock", "insert", "commit"),
        ("gate", "last value", "draw", "lock", "insert", "commit"),
    ],
    ids=" then ".join,
)
def test_a_writer_in_another_order_makes_readers_lose_its_event(log: Log, writer: Sequence[str]) -> None:
    found = (
        schedule
        for schedule in schedules(slow=len(writer), quick=1, reader=len(READER))
        if lost(log, schedule, writer=writer, reader=READER, fails=False)
    )
    assert next(found, None) is not None


ACTORS = 6
"""Three writers, one of which fails, two conditional ones, and the reader."""


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(schedule=st.lists(st.integers(0, ACTORS - 1), min_size=20, max_size=80))
def test_random_schedules_of_many_writers(log: Log, schedule: list[int]) -> None:
    """Everything committed is seen once, in order; of two conditional writers of one fact, one wins at most."""
    fact = f"A_APPROVED {next(log.numbers)}"
    writers = [
        Writer(log),
        Writer(log),
        Writer(log, fails=True),
        Writer(log, condition=fact),
        Writer(log, condition=fact),
    ]
    reader = Reader(log)
    for actor in itertools.chain(schedule, [*range(ACTORS)] * 2 * len(WRITER)):
        if actor == ACTORS - 1:
            reader.step()
        elif not writers[actor].done:
            writers[actor].step()
    for writer in writers:  # those that waited for the gate, one after the other
        while not writer.done:
            assert writer.step()
    seen = reader.read()
    log.give_back(reader.connection)
    assert seen == sorted(writer.position for writer in writers if writer.committed)
    assert sum(writer.committed for writer in writers[3:]) == 1
