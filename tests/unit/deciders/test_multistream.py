"""One decision over several streams: all of it or nothing, once, whoever else decides at the same time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.testing.consuming import caught_up
from headwater.testing.faults import FaultyStore, faulty_store
from tests.unit.deciders.bank import (
    CODEC,
    ONE,
    OTHER,
    Bank,
    Deposited,
    Opened,
    Purse,
    TransferRequested,
    Withdraw,
    Withdrawn,
    transfer,
)
from tests.unit.deciders.loans import Refused, types_of

FAST = hw.Retry(attempts=4, first=0, most=0)
PATIENT = hw.Retry(attempts=None, first=0.001, most=0.02)
REQUESTS = hw.Query([hw.QueryItem(types=["TransferRequested"])])


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def bank(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bank]:
    match request.param:
        case "memory":
            url = "memory:"
        case "sqlite":
            url = f"sqlite:///{tmp_path}/bank.db"
        case _:
            url = request.getfixturevalue("postgres_schema_url")
    async with hw.connect(url) as store:
        yield Bank(store)


@pytest.fixture
async def faulty() -> AsyncIterator[FaultyStore]:
    async with await faulty_store() as store:
        yield store


async def test_both_streams_or_none(bank: Bank) -> None:
    await bank.open(ONE, OTHER)
    done = await hw.execute_all(bank.pair(), transfer(70))
    assert {name: (each.events, each.version, each.duplicate) for name, each in done.items()} == {
        "source": ([Withdrawn(70)], 2, False),
        "target": ([Deposited(70)], 2, False),
    }
    assert max(each.position for each in done.values()) == await bank.store.head()
    with pytest.raises(Refused, match="not enough"):
        await hw.execute_all(bank.pair(), transfer(70))
    assert await bank.balances(ONE, OTHER) == [30, 170]


async def test_a_command_of_one_id_is_executed_once(bank: Bank) -> None:
    await bank.open(ONE, OTHER)
    together = await asyncio.gather(
        *[hw.execute_all(bank.pair(), transfer(10), id="transfer-1", retry=PATIENT) for _ in range(8)]
    )
    assert sorted(each["source"].duplicate for each in together) == [False] + [True] * 7
    assert {(each["source"].version, each["target"].version) for each in together} == {(2, 2)}
    again = await hw.execute_all(bank.pair(), transfer(99), id="transfer-1")
    assert (again["target"].events, again["target"].duplicate) == ([Deposited(10)], True)
    assert await bank.balances(ONE, OTHER) == [90, 110]
    causes = [event.metadata.get("causation_id") async for event in bank.store.read_all()]
    assert causes == [None, None, "transfer-1", "transfer-1"]


async def test_no_money_is_lost_or_made_by_many_at_a_time(bank: Bank) -> None:
    accounts = [f"account-{number}" for number in range(1, 5)]
    await bank.open(*accounts)
    moved = 0

    async def move(seed: int) -> None:
        nonlocal moved
        choose = random.Random(seed)
        for _ in range(6):
            source, target = choose.sample(accounts, 2)
            try:
                await hw.execute_all(bank.pair(source, target), transfer(choose.randint(1, 90)), retry=PATIENT)
                moved += 1
            except Refused:
                pass

    await asyncio.gather(*[move(seed) for seed in range(8)])
    balances = await bank.balances(*accounts)
    assert sum(balances) == 400
    assert min(balances) >= 0, "the rule held, whoever else was faster"
    assert moved > 8
    assert len([event async for event in bank.store.read_all()]) == len(accounts) + 2 * moved


async def test_a_stream_that_was_only_read_must_not_change_either(faulty: FaultyStore) -> None:
    bank = Bank(faulty)
    await bank.open(ONE, OTHER)

    def top_up(balances: Mapping[str, int]) -> dict[str, list[object]]:
        return {"source": [Deposited(5)]} if balances["target"] == 100 else {}

    faulty.before_next_append(OTHER, CODEC.encode(Withdrawn(1)))
    assert await hw.execute_all(bank.pair(), top_up, retry=FAST) == {}
    assert await bank.balances(ONE, OTHER) == [100, 99]
    done = await hw.execute_all(bank.pair(OTHER, ONE), top_up, retry=FAST)
    assert list(done) == ["source"]
    assert await bank.balances(ONE, OTHER) == [100, 104]


@pytest.mark.parametrize("raced", [ONE, OTHER])
async def test_somebody_was_faster_on_one_of_the_streams(faulty: FaultyStore, raced: str) -> None:
    bank = Bank(faulty)
    await bank.open(ONE, OTHER)
    faulty.before_next_append(raced, CODEC.encode(Withdrawn(50)))
    if raced == ONE:
        with pytest.raises(Refused):
            await hw.execute_all(bank.pair(), transfer(60), retry=FAST)
        assert await bank.balances(ONE, OTHER) == [50, 100]
    else:
        await hw.execute_all(bank.pair(), transfer(60), retry=FAST)
        assert await bank.balances(ONE, OTHER) == [40, 110]


@pytest.mark.parametrize("error", [hw.WrongExpectedVersion, hw.AppendConditionFailed])
async def test_conflicts_are_not_retried_for_ever(faulty: FaultyStore, error: type[Exception]) -> None:
    bank = Bank(faulty)
    await bank.open(ONE, OTHER)
    raced = ONE if error is hw.WrongExpectedVersion else OTHER
    for _ in range(10):
        faulty.before_next_append(raced, CODEC.encode(Deposited(1)))
    with pytest.raises(error):
        await hw.execute_all(bank.pair(), lambda balances: {"source": [Deposited(5)]}, retry=FAST)
    assert await faulty.head() == 2 + FAST.attempts  # type: ignore[operator]


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("id", [None, "transfer-1"])
async def test_a_lost_answer(faulty: FaultyStore, id: str | None, stored: bool) -> None:
    bank = Bank(faulty)
    await bank.open(ONE, OTHER)
    faulty.lose_next_answer(stored=stored)
    done = await hw.execute_all(bank.pair(), transfer(60), id=id, retry=FAST)
    assert [each.duplicate for each in done.values()] == [False, False]
    assert await bank.balances(ONE, OTHER) == [40, 160]


async def test_aggregates_record_for_themselves(faulty: FaultyStore) -> None:
    purses: hw.Repository[Any, Purse] = hw.Repository(faulty, CODEC, Purse, snapshots=hw.SnapshotEvery(events=1))
    streams = {"source": (purses, ONE), "target": (purses, OTHER)}
    await faulty.append(ONE, CODEC.encode(Opened(100)))

    def move(purse: Mapping[str, Purse]) -> None:
        purse["source"].withdraw(60)
        purse["target"].deposit(60)

    faulty.before_next_append(ONE, CODEC.encode(Withdrawn(10)))
    await hw.execute_all(streams, move, retry=FAST)
    assert [(await purses.load(each)).state.balance for each in (ONE, OTHER)] == [30, 60]
    with pytest.raises(Refused):
        await hw.execute_all(streams, move)
    await purses.settle()


async def test_snapshots_save_reading(faulty: FaultyStore) -> None:
    bank = Bank(faulty, snapshots=hw.SnapshotEvery(events=10))
    await bank.open(ONE, OTHER)
    await faulty.append(ONE, [CODEC.encode(Deposited(1)) for _ in range(20)])
    await bank.accounts.load(ONE)
    await bank.accounts.settle()
    await hw.execute_all(bank.pair(), transfer(120))
    assert (await bank.accounts.load(ONE)).replayed == 1


async def test_what_makes_no_sense_is_refused(faulty: FaultyStore) -> None:
    bank = Bank(faulty)
    with pytest.raises(hw.InvalidEvent, match="no streams"):
        await hw.execute_all({}, transfer(1))
    with pytest.raises(hw.InvalidEvent, match="two names, 'source' and 'target'"):
        await hw.execute_all(bank.pair(ONE, ONE), transfer(1))
    with pytest.raises(hw.InvalidEvent, match=r"events for \['targt'\].*'source', 'target'"):
        await hw.execute_all(bank.pair(), lambda states: {"targt": [Deposited(1)]})
    with pytest.raises(hw.InvalidEvent, match="the decision gives \\[Deposited"):
        await hw.execute_all(bank.pair(), lambda states: [Deposited(1)])  # type: ignore[arg-type,return-value]
    async with hw.connect("memory:") as elsewhere:
        mixed = {**bank.pair(), "target": (Bank(elsewhere).accounts, OTHER)}
        with pytest.raises(hw.InvalidEvent, match="of 2 stores"):
            await hw.execute_all(mixed, transfer(1))
    assert await faulty.head() == 0


async def request(bank: Bank, number: int, amount: int, source: str = ONE, target: str = OTHER) -> None:
    asked = CODEC.encode(TransferRequested(source, target, amount))
    await bank.store.append(f"transfer-{number}", asked)


async def test_a_process_manager_settles_each_transfer_once(bank: Bank) -> None:
    await bank.open(ONE, OTHER)
    for number, amount in enumerate([60, 50, 30], start=1):
        await request(bank, number, amount)
    await caught_up(bank.store, bank.store.reactor("settling", bank.settle, query=REQUESTS))
    assert await bank.balances(ONE, OTHER) == [10, 190]
    assert [(await types_of(bank.store, f"transfer-{number}"))[1:] for number in (1, 2, 3)] == [
        ["TransferSettled"],
        ["TransferRefused"],
        ["TransferSettled"],
    ]
    head = await bank.store.head()
    again = bank.store.reactor("settling", bank.settle, query=REQUESTS, rerun=True)
    await again.rewind(0)
    await caught_up(bank.store, again)
    await caught_up(bank.store, bank.store.reactor("settling-too", bank.settle, query=REQUESTS))
    assert bank.runs == 9
    assert await bank.store.head() == head, "neither the same reactor nor another one moves money twice"


async def test_a_process_manager_that_dies_after_its_append_moves_no_money_twice(faulty: FaultyStore) -> None:
    bank = Bank(faulty)
    await bank.open(ONE, OTHER)
    await request(bank, 1, 60)
    deaths = 0

    async def dies_once(event: hw.Event, reaction: hw.Reaction) -> None:
        nonlocal deaths
        await hw.execute_all(bank.pair(), transfer(60), id=reaction.key)
        deaths += 1
        if deaths == 1:
            raise ConnectionError("killed")

    settling = faulty.reactor("settling", dies_once, query=REQUESTS, retry=FAST)
    await caught_up(faulty, settling)
    assert (deaths, await bank.balances(ONE, OTHER)) == (2, [40, 160])


async def test_what_a_process_manager_decides_follows_from_its_event(faulty: FaultyStore) -> None:
    bank = Bank(faulty)
    await bank.open(ONE, OTHER)
    await request(bank, 1, 60)
    (asked,) = [event async for event in faulty.read("transfer-1")]

    async def handler(event: hw.Event, reaction: hw.Reaction) -> None:
        await bank.settle(event, reaction)
        await bank.accounts.execute(ONE, Withdraw(1), id=f"{reaction.key}/fee")

    await caught_up(faulty, faulty.reactor("settling", handler, query=REQUESTS))
    followed = [event.metadata async for event in faulty.read_all(after=asked.position)]
    assert followed == [{"causation_id": str(asked.id), "correlation_id": str(asked.id)}] * 4
