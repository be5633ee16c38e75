"""The worked example: its rules without a store, its parts on a store, and all of it on the real log."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
from examples.loans.__main__ import main
from examples.loans.desk import Desk
from examples.loans.events import (
    CODEC,
    LoanAccepted,
    LoanApproved,
    LoanCancelled,
    LoanDeclined,
    LoanPaidOut,
    LoanPreaccepted,
    LoanRequested,
    OfferReturned,
    OfferSent,
    OfferWithdrawn,
)
from examples.loans.history import cases
from examples.loans.payouts import payouts
from examples.loans.rules import (
    LOAN,
    Accept,
    Approve,
    Cancel,
    Command,
    Decline,
    Loan,
    Preaccept,
    Refused,
    Request,
    ReturnOffer,
    SendOffer,
    Stage,
    WithdrawOffer,
)

import headwater as hw
from headwater.testing.scenarios import given

ACCEPTED = (LoanRequested(20_000), LoanPreaccepted(), LoanAccepted("10862"))
SIGNED = (*ACCEPTED, OfferSent("10862"), OfferReturned())


def test_an_application_goes_its_way() -> None:
    given(LOAN).when(Request(20_000)).then(LoanRequested(20_000))
    given(LOAN, LoanRequested(20_000)).when(Preaccept()).then(LoanPreaccepted())
    given(LOAN, *ACCEPTED[:2]).when(Accept("10862")).then(LoanAccepted("10862"))
    given(LOAN, *ACCEPTED).when(SendOffer("10862")).then(OfferSent("10862"))
    given(LOAN, *ACCEPTED, OfferSent("10862")).when(ReturnOffer()).then(OfferReturned())
    given(LOAN, *SIGNED).when(Approve("10629")).then(LoanApproved("10629", 20_000))
    given(LOAN, *SIGNED).when(Decline("10629")).then(LoanDeclined("10629"))
    given(LOAN, *ACCEPTED).when(Cancel()).then(LoanCancelled())
    given(LOAN, *SIGNED, LoanApproved("10629", 20_000), LoanPaidOut("p1")).then_state(
        Loan(Stage.PAID_OUT, 20_000, offers=1, signed=True)
    )


def test_a_signature_ends_with_its_offer() -> None:
    changed = (*SIGNED, OfferWithdrawn(), OfferSent("10862"))
    given(LOAN, *changed).when(Approve("10629")).refused(Refused, match="signed no offer")
    given(LOAN, *changed, OfferReturned()).when(Approve("10629")).then(LoanApproved("10629", 20_000))


@pytest.mark.parametrize(
    ("events", "command", "why"),
    [
        ((), Preaccept(), "nobody has requested"),
        ((), Request(0), "above zero"),
        (ACCEPTED, Request(5_000), "requested before"),
        (ACCEPTED, Preaccept(), "accepted already"),
        (ACCEPTED[:1], Accept("10862"), "not preaccepted"),
        (ACCEPTED[:2], SendOffer("10862"), "accepted application"),
        (ACCEPTED, ReturnOffer(), "no offer was sent"),
        (ACCEPTED, Approve("10629"), "signed no offer"),
        ((*ACCEPTED, LoanCancelled()), Decline("10629"), "is cancelled"),
    ],
)
def test_what_the_bank_refuses(events: tuple[object, ...], command: Command, why: str) -> None:
    given(LOAN, *events).when(command).refused(Refused, match=why)


def test_there_may_be_nothing_to_withdraw() -> None:
    given(LOAN, *ACCEPTED).when(WithdrawOffer()).then_nothing()
    given(LOAN, *SIGNED, LoanCancelled()).when(WithdrawOffer()).then_nothing()
    given(LOAN, *SIGNED).when(WithdrawOffer()).then(OfferWithdrawn())


@pytest.fixture(params=["memory:", "sqlite:///loans.db"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[hw.EventStore]:
    monkeypatch.chdir(tmp_path)
    async with hw.connect(request.param) as store:
        yield store


async def signed(store: hw.EventStore, *streams: str) -> None:
    for stream in streams:
        await store.append(stream, [CODEC.encode(event) for event in SIGNED])


async def test_a_clerk_who_approves_two_at_once_stays_below_the_limit(store: hw.EventStore) -> None:
    await signed(store, "loan-1", "loan-2", "loan-3")
    desk = Desk(store, approvals_most=45_000)
    tries = [desk.execute(f"loan-{number}", Approve("10629")) for number in (1, 2, 3)]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(each, hw.Executed) for each in done) == 2
    assert [str(each) for each in done if isinstance(each, Refused)] == [
        "clerk 10629 would have approved more than 45,000 euros"
    ]
    (left,) = [f"loan-{number}" for number, each in enumerate(done, start=1) if isinstance(each, Refused)]
    await desk.execute(left, Approve("10138"))
    assert (await desk.loan(left)).stage == Stage.APPROVED


async def test_an_approval_that_comes_again_pays_once(store: hw.EventStore) -> None:
    await signed(store, "loan-1")
    paid: list[tuple[str, int, str]] = []

    async def pay(loan: str, amount: int, key: str) -> str:
        paid.append((loan, amount, key))
        if len(paid) == 1:
            raise ConnectionError("no answer from the payment service")
        return "p1"

    desk = Desk(store)
    async with payouts(store, pay) as paying:
        for _ in range(2):
            done = await desk.execute("loan-1", Approve("10629"), id="web-4711")
        await paying.wait_for(done.position)
    assert [each[:2] for each in paid] == [("loan-1", 20_000)] * 2  # it failed once, and was tried again
    assert len({key for _, _, key in paid}) == 1
    assert (await desk.loan("loan-1")).stage == Stage.PAID_OUT
    (payout,) = [event async for event in store.read("loan-1", backwards=True, limit=1)]
    assert CODEC.decode(payout) == LoanPaidOut("p1")


async def test_the_real_log_on_sqlite_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = await main(tmp_path, 120)
    again = await main(tmp_path, 120)
    assert (first.before, again.executed, again.before) == (0, 0, first.executed)
    assert first.refused == again.refused
    assert first.refused["Approve: the customer has signed no offer"] == 1  # loan-174036, as the log has it
    with closing(sqlite3.connect(tmp_path / "overview.db")) as readers:
        rows = dict(readers.execute("select stage, count(*) from applications group by stage"))
    assert rows == counted(120)
    assert f"paid out{rows['paid out']:14}" in capsys.readouterr().out


def counted(applications: int) -> Counter[str]:
    """The stages at the end, by the rules alone; what is approved within the limit is paid out."""
    stages: Counter[str] = Counter()
    approved: Counter[str] = Counter()
    for case in islice(cases(), applications):
        loan = Loan()
        for command in case.commands:
            if isinstance(command, Approve) and approved[command.by] + loan.amount > 100_000:
                continue
            try:
                events = LOAN.decide(command, loan)
            except Refused:
                continue
            for event in events:
                if isinstance(event, LoanApproved):
                    approved[event.by] += event.amount
            loan = LOAN.fold(events, loan)
        stages["paid out" if loan.stage is Stage.APPROVED else str(loan.stage)] += 1
    return stages
