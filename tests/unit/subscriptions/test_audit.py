"""The account of what was delivered, held against what really came to the handler."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

import headwater as hw
from headwater.subscriptions.states import Progress, advanced
from headwater.testing.conformance.consumers import forge
from headwater.testing.consuming import FAST, Seen, caught_up
from headwater.testing.loans import CASE, loan


async def log(store: hw.EventStore) -> list[hw.Event]:
    return [event async for event in store.read_all()]


async def account(store: hw.EventStore, change: Callable[[list[hw.Event]], list[hw.Event]]) -> hw.Audit:
    """The audit of a consumer to which other events than the log's were delivered."""
    await store.append(CASE, loan(10))
    await caught_up(store, store.consumer("billing", Seen()))
    events = await log(store)
    told = advanced(Progress(0, 0), change(events), events[-1].position)
    await forge(store, "billing", lambda state: msgspec.structs.replace(state, progress=told))
    return await store.audit("billing")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda events: events, (0, 0, 0)),
        (lambda events: events[:4] + events[5:], (1, 0, 0)),
        (lambda events: events[:4] + events[7:], (3, 0, 0)),
        (lambda events: [*events[:4], events[3], *events[4:]], (0, 1, 1)),
        (lambda events: [*events[:4], events[3], *events[5:]], (1, 1, 1)),
        (lambda events: [*events[:4], events[5], events[4], *events[6:]], (0, 0, 1)),
    ],
    ids=["all", "one missed", "three missed", "one doubled", "one instead of another", "two in the wrong order"],
)
async def test_what_came_is_told(
    store: hw.EventStore, change: Callable[[list[hw.Event]], list[hw.Event]], found: tuple[int, int, int]
) -> None:
    audit = await account(store, change)
    assert (audit.missed, audit.doubled, audit.reversed) == found
    assert audit.well == (found == (0, 0, 0))


async def test_events_of_other_stores_do_not_fit(store: hw.EventStore) -> None:
    """As many events at the same places, but not these."""
    async with hw.connect("memory:") as other:
        await other.append(CASE, loan(10))
        theirs = await log(other)
    audit = await account(store, lambda events: theirs)
    assert (audit.missed, audit.doubled) == (1, 1)


async def test_parked_and_dropped_events_were_delivered(store: hw.EventStore) -> None:
    """To put an event aside, or behind another of its key, is to account for it; to drop it changes nothing."""
    await store.append(CASE, loan(6))
    await store.append("loan-2", loan(3))
    seen = Seen(lambda event: event.stream == CASE and event.version > 2)
    consumer = store.consumer("mail", seen, on_failure="park_key", retry=FAST, partitions=3, lease=0.4)
    await caught_up(store, consumer)
    audit = await store.audit("mail")
    assert (audit.well, audit.delivered, audit.parked) == (True, 9, 4)
    await store.parked("mail").drop()
    audit = await store.audit("mail")
    assert (audit.well, audit.delivered, audit.parked) == (True, 9, 0)


async def test_an_account_of_a_rewound_part(store: hw.EventStore) -> None:
    """It starts behind the place of the rewind, and what is not handled yet is not missed."""
    await store.append(CASE, loan(8))
    positions = [event.position for event in await log(store)]
    consumer = store.consumer("billing", Seen())
    await caught_up(store, consumer)
    await consumer.rewind(positions[4])
    audit = await store.audit("billing")
    assert (audit.well, audit.since, audit.position, audit.delivered) == (True, positions[4], positions[4], 0)
    await caught_up(store, consumer)
    audit = await store.audit("billing")
    assert (audit.well, audit.since, audit.position, audit.delivered) == (True, positions[4], positions[7], 3)


async def test_a_group_by_a_function_needs_it_again(store: hw.EventStore) -> None:
    def by_amount(event: hw.Event) -> str:
        return str(event.data.get("amount"))

    await store.append(CASE, loan(8))
    await caught_up(store, store.consumer("billing", Seen(), partitions=3, partition_by=by_amount))
    for other in (None, "stream"):
        with pytest.raises(hw.InvalidConsumer, match="by_amount"):
            await store.audit("billing", partition_by=other)
    assert (await store.audit("billing", partition_by=by_amount)).well


async def test_nobody_of_that_name(store: hw.EventStore) -> None:
    with pytest.raises(hw.InvalidConsumer, match="does not exist"):
        await store.audit("nobody")
