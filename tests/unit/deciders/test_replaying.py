"""Commands kept with their events, and decided again by another rule."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import pytest

import headwater as hw
from headwater.deciders import Redecided, redecided
from tests.unit.deciders.loans import (
    CODEC,
    RULE,
    STREAM,
    Approve,
    Approved,
    Loan,
    LoanAggregate,
    Pay,
    Refused,
    Request,
    decide,
    evolve,
)

COMMANDS = hw.Commands({"RequestLoan": Request, "ApproveLoan": Approve, "PayInstalment": Pay})


@pytest.fixture
async def store() -> AsyncIterator[hw.EventStore]:
    async with hw.connect("memory:", vault="memory:") as store:
        yield store


async def again(
    store: hw.EventStore, rule: Any = RULE, codec: hw.Codec = CODEC, commands: hw.Commands = COMMANDS
) -> list[Redecided]:
    streams = [info async for info in store.streams()]
    return [each for info in streams async for each in redecided(store, codec, rule, commands, info)]


async def history(store: hw.EventStore) -> None:
    loans: hw.Repository[Any, Loan] = hw.Repository(store, CODEC, RULE, commands=COMMANDS)
    await loans.execute(STREAM, Request("112", 1_000), id="request-1")
    await loans.execute(STREAM, Approve("anna"), occurred_at=datetime(2011, 10, 1, tzinfo=UTC))
    await loans.execute(STREAM, Pay(600))
    with pytest.raises(Refused):
        await loans.execute(STREAM, Pay(600))


async def test_the_same_rule_decides_the_same(store: hw.EventStore) -> None:
    await history(store)
    told = await again(store)
    assert [(each.version, each.command, each.same) for each in told] == [
        (1, "RequestLoan", True),
        (2, "ApproveLoan", True),
        (3, "PayInstalment", True),
    ]
    events = [each async for each in store.read(STREAM)]
    assert events[0].metadata["command"] == {
        "type": "RequestLoan",
        "fields": {"applicant": "112", "amount": 1000},
        "events": 1,
    }
    assert events[1].occurred_at == datetime(2011, 10, 1, tzinfo=UTC)


async def test_another_rule_tells_where_it_differs(store: hw.EventStore) -> None:
    await history(store)

    def stricter(command: Any, loan: Loan) -> list[object]:
        if isinstance(command, Pay) and command.amount > 500:
            raise Refused("at most 500 at a time")
        if isinstance(command, Approve):
            return [*decide(command, loan), Approved("the boss")]
        return decide(command, loan)

    told = await again(store, hw.Decider(Loan(), stricter, evolve, name="loan"))
    assert [each.same for each in told] == [True, False, False]
    assert told[1].today == ['LoanApproved {"by":"anna"}', 'LoanApproved {"by":"the boss"}']
    assert (told[2].today, told[2].problem) == ([], "Refused: at most 500 at a time")
    assert told[2].recorded == ['InstalmentPaid {"amount":600}']


async def test_the_state_is_that_of_the_events_before(store: hw.EventStore) -> None:
    """Events that others appended between, without a command, count too; so do several events of one command."""

    def twice(command: Any, loan: Loan) -> list[object]:
        return (
            [event for event in decide(command, loan) for _ in range(2)]
            if isinstance(command, Pay)
            else decide(command, loan)
        )

    rule: hw.Decider[Any, Loan] = hw.Decider(Loan(), twice, evolve, name="loan")
    loans = hw.Repository(store, CODEC, rule, commands=COMMANDS)
    await loans.execute(STREAM, Request("112", 1_000))
    await store.append(STREAM, hw.NewEvent("InstalmentPaid", {"amount": 100}))
    await loans.execute(STREAM, Pay(100))
    await loans.execute(STREAM, Pay(700))
    told = await again(store, rule)
    assert [(each.version, len(each.recorded), each.same) for each in told] == [
        (1, 1, True),
        (3, 2, True),
        (5, 2, True),
    ]
    told = await again(store)
    assert [each.same for each in told] == [True, False, False]


async def test_what_can_not_be_decided_again(store: hw.EventStore) -> None:
    await history(store)
    await store.append("loan-2", hw.NewEvent("LetterSent", {}, metadata={"command": "somebody else's"}))
    (first, *_) = await again(store, commands=hw.Commands({"ApproveLoan": Approve, "PayInstalment": Pay}))
    assert first.problem == "it can't be read: no class is given for the command 'RequestLoan'"
    await store.set_policy(STREAM, truncate_before=2)
    assert await again(store) == []


async def test_commands_that_can_not_be_kept(store: hw.EventStore) -> None:
    loans: hw.Repository[Any, Loan] = hw.Repository(store, CODEC, RULE, commands=hw.Commands({"ApproveLoan": Approve}))
    with pytest.raises(hw.InvalidEvent, match="Add it: Commands"):
        await loans.execute(STREAM, Request("112", 1))
    assert await store.head() == 0
    with pytest.raises(hw.InvalidType, match="Use a Decider"):
        hw.Repository(store, CODEC, LoanAggregate, commands=COMMANDS)
    with pytest.raises(hw.InvalidType, match="two names"):
        hw.Commands({"One": Approve, "Two": Approve})


@hw.event("CustomerRegistered")
class Registered(msgspec.Struct, frozen=True):
    customer: str
    name: Annotated[str, hw.Personal(subject="customer")]


class Register(msgspec.Struct, frozen=True):
    customer: str
    name: Annotated[str, hw.Personal(subject="customer")]


class RegisterInTheClear(msgspec.Struct, frozen=True):
    customer: str
    name: str


async def test_personal_data_of_commands_are_not_kept(store: hw.EventStore) -> None:
    codec = hw.Codec([Registered])
    rule: hw.Decider[Any, None] = hw.Decider(
        None, lambda command, _: [Registered(command.customer, command.name)], lambda state, _: state, name="customer"
    )
    commands = hw.Commands({"Register": Register, "Unmarked": RegisterInTheClear})
    customers = hw.Repository(store, codec, rule, commands=commands)
    with pytest.raises(hw.InvalidEvent, match="marks no field as personal"):
        await customers.execute("customer-112", RegisterInTheClear("112", "Ada"))
    await customers.execute("customer-112", Register("112", "Ada"))
    (event,) = [each async for each in store.read("customer-112")]
    assert event.data["name"] == "Ada"
    assert b"Ada" not in event.raw_metadata
    (told,) = await again(store, rule, codec, commands)
    assert told.same
    assert told.today == ['CustomerRegistered {"customer":"112","name":"(forgotten)"}']
