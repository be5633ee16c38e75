"""Random schedules of a Marten application's writers and a reader of its log: it misses nothing, and would otherwise.

That the tests can fail is tested too: without any one of its precautions, a reader loses an event.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from headwater.backends.marten.settled import Settled
from tests.interleavings.marten_steps import GAP, INSIDE, REPLAYED, RICH, lost, worlds
from tests.services.marten import MakeSchema

SCHEDULES = 200


class Blind(Settled):
    """Does not look who is writing."""

    async def _writers(self) -> set[str]:
        return set()


class Hasty(Settled):
    """Waits for nobody to begin."""

    def _watch(self, drawn: int) -> None:
        super()._watch(drawn)
        for watch in self._watches:
            watch.look_at = watch.since


class Trusting(Settled):
    """Takes the end of a transaction for the end of its append."""

    def _watch(self, drawn: int) -> None:
        super()._watch(drawn)
        for watch in self._watches:
            watch.rounds = 1


async def _search(
    make: MakeSchema, kind: type[Settled], ways: list[tuple[str, ...]], gap: float, schedules: int
) -> set[int]:
    async with worlds(make(identity="string"), kind, gap) as (world, reader):
        for seed in range(schedules):
            missed = await lost(world, reader, ways, random.Random(seed))
            if missed:
                return missed
    return set()


@pytest.mark.parametrize(
    ("ways", "gap"),
    [([INSIDE] * 4, 0.0), ([INSIDE, INSIDE, RICH, RICH], GAP), ([REPLAYED, REPLAYED, RICH, INSIDE], GAP)],
    ids=["inside", "rich", "replayed"],
)
def test_no_schedule_loses_an_event(marten_schema: MakeSchema, ways: list[tuple[str, ...]], gap: float) -> None:
    assert asyncio.run(_search(marten_schema, Settled, ways, gap, SCHEDULES)) == set()


@pytest.mark.parametrize(
    ("kind", "ways", "gap"),
    [(Blind, [INSIDE] * 4, 0.0), (Hasty, [RICH] * 4, GAP), (Trusting, [REPLAYED] * 4, GAP)],
    ids=["blind", "hasty", "trusting"],
)
def test_without_a_precaution_an_event_is_lost(
    marten_schema: MakeSchema, kind: type[Settled], ways: list[tuple[str, ...]], gap: float
) -> None:
    assert asyncio.run(_search(marten_schema, kind, ways, gap, 10 * SCHEDULES))
