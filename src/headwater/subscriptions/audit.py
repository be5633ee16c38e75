"""Comparing what was delivered with the log: missed, doubled, reversed."""

from __future__ import annotations

from contextlib import aclosing

import msgspec

from headwater.backend import Backend
from headwater.errors import InvalidConsumer
from headwater.events import Event
from headwater.limits import Limits
from headwater.reading import Reading
from headwater.subscriptions.consumers import Consumers
from headwater.subscriptions.partitions import PartitionBy, key_function, part_of
from headwater.subscriptions.parts import restarted
from headwater.subscriptions.states import PartState, Progress, advanced, query_of

__all__ = ["Audit", "audited"]


class Audit(msgspec.Struct, frozen=True):
    """What became of the events of a consumer, from where its account starts to where its parts stand."""

    consumer: str
    since: int
    """The account starts behind this position: where the consumer started, or was last rewound to."""
    position: int
    """How far the part has come that is furthest."""
    delivered: int
    missed: int
    doubled: int
    reversed: int
    parked: int
    """Of those delivered, put aside."""

    @property
    def well(self) -> bool:
        """Whether every event was delivered once, in order."""
        return not (self.missed or self.doubled or self.reversed)


async def audited(backend: Backend, limits: Limits, name: str, partition_by: PartitionBy | None = None) -> Audit:
    """Read the log again and compare it with the account of each part.

    ``partition_by`` is needed where the consumer was made with a function. Counts tell how many events are missing or
    too many; where only the digests differ, some were missed and as many doubled: at least one of each is said.
    """
    consumers = Consumers(backend)
    info = await consumers.info(name)
    about = await consumers.about(name)
    assert about is not None
    if about.partition_by.startswith("function ") and not callable(partition_by) and about.partitions > 1:
        raise InvalidConsumer(
            name, f"is partitioned by a {about.partition_by}", "Audit it in Python: store.audit(name, partition_by=…)."
        )
    key_of = key_function(name, about.partition_by if partition_by is None else partition_by)
    states = await consumers.parts(name)
    expected = {number: restarted(state.progress.since) for number, state in states.items()}
    since = min(each.since for each in expected.values())
    last = max(state.progress.position for state in states.values())
    reading = Reading(backend, limits)
    async with aclosing(reading.log_pages(since, last + 1, query_of(about.query), None, False)) as pages:
        async for page in pages:
            shares: dict[int, list[Event]] = {}
            for event in page:
                number = part_of(key_of(event), about.partitions) if about.partitions > 1 else 0
                if states[number].progress.since < event.position <= states[number].progress.position:
                    shares.setdefault(number, []).append(event)
            for number, share in shares.items():
                expected[number] = advanced(expected[number], share)
    differences = [_difference(expected[number], states[number]) for number in states]
    return Audit(
        consumer=name,
        since=since,
        position=last,
        delivered=sum(state.progress.count for state in states.values()),
        missed=sum(missed for missed, _ in differences),
        doubled=sum(doubled for _, doubled in differences),
        reversed=sum(state.progress.reversed for state in states.values()),
        parked=info.parked,
    )


def _difference(expected: Progress, state: PartState) -> tuple[int, int]:
    """Missed and doubled events of a part."""
    told = state.progress
    if (told.count, told.digest) == (expected.count, expected.digest):
        return 0, 0
    if told.count == expected.count:
        return 1, 1
    return max(0, expected.count - told.count), max(0, told.count - expected.count)
