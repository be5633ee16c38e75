"""What a service meets: somebody faster, an answer that is lost, a store that is away. Each command counts once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

import headwater as hw
from headwater.deciders import Boundary, Repository
from headwater.testing.faults import FaultyStore, faulty_store
from headwater.testing.samples import check_samples, keep_samples
from tests.unit.deciders import test_boundaries as courses
from tests.unit.deciders.bank import ONE, OTHER, Bank, transfer
from tests.unit.deciders.loans import (
    CODEC,
    RULE,
    STREAM,
    Approved,
    Loan,
    Paid,
    Pay,
    Refused,
    Request,
    Requested,
    types_of,
)

FAST = hw.Retry(attempts=4, first=0, most=0)
Arrange = Callable[[Callable[[], Awaitable[object]]], None]


@pytest.fixture
async def store() -> AsyncIterator[FaultyStore]:
    async with await faulty_store() as store:
        yield store


@pytest.fixture
def loans(store: FaultyStore) -> Repository[Any, Loan]:
    return Repository(store, CODEC, RULE, retry=FAST)


async def test_somebody_was_faster(store: FaultyStore, loans: Repository[Any, Loan]) -> None:
    await loans.execute(STREAM, Request("112", 100))
    store.before_next_append(STREAM, CODEC.encode(Paid(60)))
    with pytest.raises(Refused):
        await loans.execute(STREAM, Pay(50))
    assert (await loans.load(STREAM)).state.paid == 60


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("id", [None, "pay-1"])
async def test_a_lost_answer(store: FaultyStore, loans: Repository[Any, Loan], id: str | None, stored: bool) -> None:
    await loans.execute(STREAM, Request("112", 100))
    store.lose_next_answer(stored=stored)
    store.lose_next_answer(stored=True)
    done = await loans.execute(STREAM, Pay(50), id=id)
    assert (done.version, done.duplicate) == (2, False)
    assert await types_of(store) == ["LoanRequested", "InstalmentPaid"]
    boundary = Boundary(store, courses.CODEC, retry=FAST)
    store.lose_next_answer(stored=stored)
    await boundary.execute({"taken": courses.taken("c1")}, lambda model: [courses.CourseDefined("c1", 3)], id=id)
    assert await store.head() == 3


async def test_answers_lost_for_ever(store: FaultyStore, loans: Repository[Any, Loan]) -> None:
    for _ in range(10):
        store.lose_next_answer(stored=True)
    with pytest.raises(hw.OutcomeUnknown):
        await loans.execute(STREAM, Request("112", 100), id="request-1")
    assert (await loans.execute(STREAM, Request("112", 100), id="request-1")).duplicate


async def test_a_store_that_is_away_is_told(store: FaultyStore, loans: Repository[Any, Loan]) -> None:
    store.refuse_next_append()
    with pytest.raises(hw.StoreUnavailable):
        await loans.execute(STREAM, Request("112", 100))
    assert await types_of(store) == []


@hw.event("LoanApproved", version=2, upcast={1: hw.Change(rename={"by": "officer"})})
class ApprovedSecond(msgspec.Struct, frozen=True):
    officer: str


@hw.event("LoanApproved", version=2, upcast={1: hw.Change()})
class ApprovedWrongly(msgspec.Struct, frozen=True):
    officer: str


def test_golden_samples(tmp_path: Path) -> None:
    bodies = [Requested("112", 100), Approved("anna"), Paid(5)]
    assert len(keep_samples(CODEC, bodies, tmp_path)) == 3
    assert keep_samples(CODEC, [Paid(9)], tmp_path) == []
    check_samples(CODEC, tmp_path, same=True)
    later = hw.Codec([Requested, ApprovedSecond, Paid])
    with pytest.raises(AssertionError, match="LoanApproved version 2 has no sample"):
        check_samples(later, tmp_path)
    keep_samples(later, [ApprovedSecond("anna")], tmp_path)
    check_samples(later, tmp_path)
    assert {each.name for each in tmp_path.iterdir()} >= {"LoanApproved.1.json", "LoanApproved.2.json"}
    with pytest.raises(AssertionError, match=r"LoanApproved.1.json: .*officer"):
        check_samples(hw.Codec([Requested, ApprovedWrongly, Paid]), tmp_path)
    with pytest.raises(AssertionError, match="it reads as"):
        check_samples(later, tmp_path, same=True)


@pytest.fixture(params=["before it is loaded", "before it is looked up", "after it is looked up"])
def while_executing(request: pytest.FixtureRequest, store: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> Arrange:
    """Has somebody else do something, once, at this point of the next command's execution."""

    def arrange(other: Callable[[], Awaitable[object]]) -> None:
        event = store.event
        reads = {"read": store.read, "read_all": store.read_all}

        async def once() -> None:
            monkeypatch.undo()
            await other()

        def reading(name: str) -> Any:
            async def read_after(*args: Any, **options: Any) -> AsyncIterator[hw.Event]:
                await once()
                async with aclosing(reads[name](*args, **options)) as events:
                    async for each in events:
                        yield each

            return read_after

        async def look_up(id: Any) -> hw.Event | None:
            if request.param == "before it is looked up":
                await once()
                return await event(id)
            found = await event(id)
            await once()
            return found

        if request.param == "before it is loaded":
            for name in reads:
                monkeypatch.setattr(store, name, reading(name))
        else:
            monkeypatch.setattr(store, "event", look_up)

    return arrange


async def test_a_command_sent_twice_at_once_is_no_conflict_with_itself(
    loans: Repository[Any, Loan], while_executing: Arrange
) -> None:
    while_executing(lambda: loans.execute(STREAM, Request("112", 100), id="request-1"))
    assert (await loans.execute(STREAM, Request("112", 100), id="request-1")).duplicate


async def test_a_decision_sent_twice_at_once_is_no_conflict_with_itself(
    store: FaultyStore, while_executing: Arrange
) -> None:
    boundary = Boundary(store, courses.CODEC, retry=FAST)
    defined = hw.Fact(False, lambda *_: True, types=[courses.CourseDefined], tags=["course:c1"])

    def decide(model: Any) -> list[object]:
        if model.defined:
            raise Refused("defined already")
        return [courses.CourseDefined("c1", 3)]

    async def define() -> hw.Executed:
        return await boundary.execute({"defined": defined}, decide, id="define-1")

    while_executing(define)
    assert (await define()).duplicate


async def test_a_transfer_sent_twice_at_once_is_no_conflict_with_itself(
    store: FaultyStore, while_executing: Arrange
) -> None:
    bank = Bank(store)
    await bank.open(ONE, OTHER)

    async def move() -> dict[str, hw.Executed]:
        return await hw.execute_all(bank.pair(), transfer(70), id="transfer-1", retry=FAST)

    while_executing(move)
    done = await move()
    assert {name: each.duplicate for name, each in done.items()} == {"source": True, "target": True}
