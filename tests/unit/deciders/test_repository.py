"""Commands on streams: decided on what is there, once each, whoever else decides at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import headwater as hw
from headwater.deciders import Decider, Repository, SnapshotEvery
from headwater.tracing import trace
from tests.unit.deciders.loans import (
    CODEC,
    RULE,
    STREAM,
    Approve,
    Approved,
    Loan,
    LoanAggregate,
    Paid,
    Pay,
    Refused,
    Request,
    Requested,
    evolve,
    types_of,
)


@pytest.fixture
async def store() -> AsyncIterator[hw.EventStore]:
    async with hw.connect("memory:") as store:
        yield store


@pytest.fixture
def loans(store: hw.EventStore) -> Repository[Any, Loan]:
    return Repository(store, CODEC, RULE)


async def test_a_command_appends_what_was_decided(store: hw.EventStore, loans: Repository[Any, Loan]) -> None:
    done = await loans.execute(STREAM, Request("112", 20000))
    assert (done.events, done.version, done.position) == ([Requested("112", 20000)], 1, 1)
    assert (await loans.execute(STREAM, Approve("anna"))).version == 2
    assert (await loans.load(STREAM)).state == Loan(20000, approved=True)
    assert [each.tags async for each in store.read(STREAM)] == [("applicant:112",), ()]


async def test_nothing_decided_appends_nothing(loans: Repository[Any, Loan]) -> None:
    await loans.execute(STREAM, Request("112", 20000))
    await loans.execute(STREAM, Approve("anna"))
    again = await loans.execute(STREAM, Approve("bert"))
    assert (again.events, again.version, again.position) == ((), 2, 0)


async def test_a_refusal_passes_through_and_leaves_nothing(store: hw.EventStore, loans: Repository[Any, Loan]) -> None:
    with pytest.raises(Refused, match="owed"):
        await loans.execute(STREAM, Pay(1))
    assert await types_of(store) == []


async def test_a_conflict_is_decided_anew(loans: Repository[Any, Loan]) -> None:
    await loans.execute(STREAM, Request("112", 1_000))
    paid = await asyncio.gather(*[loans.execute(STREAM, Pay(100)) for _ in range(20)], return_exceptions=True)
    assert sum(isinstance(each, Refused) for each in paid) == 10, "each saw what the others had paid"
    assert (await loans.load(STREAM)).state == Loan(1_000, paid=1_000)


class Raced(hw.EventStore):
    """Somebody else appends just before each append."""

    async def append(self, stream: Any, events: Any, **options: Any) -> hw.Appended:
        await super().append(stream, hw.NewEvent("LetterSent", {}))
        return await super().append(stream, events, **options)


async def test_conflicts_are_not_retried_for_ever(store: hw.EventStore) -> None:
    attempts = 0

    def decide(command: Any, loan: Loan) -> list[object]:
        nonlocal attempts
        attempts += 1
        return [Paid(1)]

    retry = hw.Retry(attempts=3, first=0, most=0)
    loans = Repository(Raced(store._backend), CODEC, Decider(Loan(), decide, evolve), retry=retry)
    with pytest.raises(hw.WrongExpectedVersion):
        await loans.execute(STREAM, "pay")
    assert attempts == 3


async def test_a_command_of_one_id_is_executed_once(store: hw.EventStore, loans: Repository[Any, Loan]) -> None:
    first = await loans.execute(STREAM, Request("112", 1_000), id="request-1")
    await loans.execute(STREAM, Pay(10), id="pay-1")
    again = await loans.execute(STREAM, Request("112", 1_000), id="request-1")
    assert (again.events, again.version, again.position, again.duplicate) == (
        first.events,
        first.version,
        first.position,
        True,
    )
    together = await asyncio.gather(*[loans.execute(STREAM, Pay(7), id="pay-2") for _ in range(8)])
    assert sorted(each.duplicate for each in together) == [False] + [True] * 7
    assert {each.version for each in together} == {3}
    assert (await loans.load(STREAM)).state.paid == 17
    assert [each.metadata["causation_id"] async for each in store.read(STREAM)] == ["request-1", "pay-1", "pay-2"]


async def test_a_trace_goes_into_the_events(store: hw.EventStore, loans: Repository[Any, Loan]) -> None:
    with trace(correlation_id="request-7", user="anna"), trace(user="bert"):
        await loans.execute(STREAM, Request("112", 1_000), id="command-1", metadata={"channel": "web"})
        await asyncio.create_task(loans.execute(STREAM, Pay(1)))
    await loans.execute(STREAM, Pay(1))
    assert [each.metadata async for each in store.read(STREAM)] == [
        {"correlation_id": "request-7", "user": "bert", "causation_id": "command-1", "channel": "web"},
        {"correlation_id": "request-7", "user": "bert"},
        {},
    ]


async def test_an_aggregate_is_changed_by_its_methods(store: hw.EventStore) -> None:
    loans = Repository[Any, LoanAggregate](store, CODEC, LoanAggregate)
    await loans.execute(STREAM, lambda loan: loan.request("112", 1_000))
    paid = await asyncio.gather(
        *[loans.execute(STREAM, lambda loan: loan.pay(100)) for _ in range(12)], return_exceptions=True
    )
    assert sum(isinstance(each, Refused) for each in paid) == 2
    done = await loans.execute(STREAM, lambda loan: loan.approve("anna"))
    assert done.events == [Approved("anna")]
    loaded = await loans.load(STREAM)
    assert (loaded.state.paid, loaded.state.approved, loaded.version) == (1_000, True, 12)
    with pytest.raises(hw.InvalidType, match="no method for it"):
        await loans.execute(STREAM, lambda loan: loan.record(object()))


@pytest.mark.parametrize("rule", [RULE, LoanAggregate])
async def test_a_snapshot_saves_reading(store: hw.EventStore, rule: Any) -> None:
    await store.append(STREAM, [CODEC.encode(each) for each in [Requested("112", 1_000), *[Paid(1)] * 250]])
    loans: Repository[Any, Any] = Repository(store, CODEC, rule, snapshots=SnapshotEvery(events=100))
    assert (await loans.load(STREAM)).replayed == 251
    await loans.settle()
    await store.append(STREAM, CODEC.encode(Paid(5)))
    loaded = await loans.load(STREAM)
    assert (loaded.replayed, loaded.version, loaded.state.paid) == (1, 252, 255)
    assert (await Repository[Any, Any](store, CODEC, rule).load(STREAM)).replayed == 252, "no snapshots, all events"


async def test_a_snapshot_that_cannot_be_used_is_passed_over(store: hw.EventStore) -> None:
    every = SnapshotEvery(events=1)
    await store.append(STREAM, [CODEC.encode(each) for each in [Requested("112", 1_000), Paid(1), Paid(2)]])
    loans: Repository[Any, Loan] = Repository(store, CODEC, RULE, snapshots=every)
    await loans.load(STREAM)
    await loans.settle()
    assert (await loans.load(STREAM)).replayed == 0
    other = Decider(Loan(), RULE.decide, evolve, name="loan", version=2)
    assert (await Repository(store, CODEC, other, snapshots=every).load(STREAM)).replayed == 3, "of another shape"
    for broken in ({"event_id": "", "state": {}}, {"state": 7}, 7):
        await store.snapshots.save(f"loan:{STREAM}", 3, broken, schema="loan/1")
        assert (await loans.load(STREAM)).state == Loan(1_000, paid=3)
        await loans.settle()


async def test_a_snapshot_from_before_a_deletion_does_not_come_back(store: hw.EventStore) -> None:
    loans: Repository[Any, Loan] = Repository(store, CODEC, RULE, snapshots=SnapshotEvery(events=1))
    await loans.execute(STREAM, Request("112", 1_000))
    await loans.load(STREAM)
    await loans.settle()
    await store.delete_stream(STREAM)
    assert (await loans.load(STREAM)).state == Loan()
    assert (await loans.execute(STREAM, Request("113", 500))).version == 2
    assert (await loans.load(STREAM)).state == Loan(500)


async def test_a_stream_whose_events_are_out_of_its_policy_can_be_appended_to(
    store: hw.EventStore, loans: Repository[Any, Loan]
) -> None:
    await loans.execute(STREAM, Request("112", 1_000))
    await store.set_policy(STREAM, truncate_before=9)
    assert (await loans.execute(STREAM, Request("112", 500))).version == 2
