"""Given events, then rows: what it accepts, and how it tells what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

import headwater as hw
from headwater.testing.projecting import given_projection
from tests.unit.deciders.loans import CODEC, Approved, Paid, Requested


class Owed(hw.Projection):
    name = "owed"
    tables = """
        create table {loans} (loan text primary key, applicant text, owed bigint);
        create table {approvals} (loan text primary key, officer text)
    """

    @hw.handles("LoanRequested")
    def requested(self, event: hw.Event, view: hw.View) -> None:
        view.execute("insert into {loans} values (:loan, :applicant, :amount)", {"loan": event.stream, **event.data})

    @hw.handles("InstalmentPaid")
    def paid(self, event: hw.Event, view: hw.View) -> None:
        view.execute(
            "update {loans} set owed = owed - :amount where loan = :loan", {"loan": event.stream, **event.data}
        )

    @hw.handles("LoanApproved")
    def approved(self, event: hw.Event, view: hw.View) -> None:
        view.execute("insert into {approvals} values (:loan, :by)", {"loan": event.stream, **event.data})


REQUESTED = Requested("112", 1_000)


async def test_rows_that_are_there() -> None:
    async with given_projection(Owed(), codec=CODEC) as given:
        await given.then("loans")
        await given.happened("loan-2", Requested("113", 500))
        await given.happened("loan-1", REQUESTED, Paid(400), Approved("anna"))
        await given.then(
            "loans",
            {"loan": "loan-1", "applicant": "112", "owed": 600},
            {"loan": "loan-2", "applicant": "113", "owed": 500},
        )
        await given.then("loans", {"owed": 500}, {"owed": 600})
        await given.then("approvals", {"loan": "loan-1", "officer": "anna"})
        await given.happened("loan-1", Paid(1))
        assert [row["owed"] for row in await given.rows("loans")] == [599, 500]


async def test_events_without_classes() -> None:
    async with given_projection(Owed()) as given:
        (event,) = await given.happened("loan-1", hw.NewEvent("LoanRequested", {"applicant": "112", "amount": 7}))
        assert (event.stream, event.version) == ("loan-1", 1)
        await given.then("loans", {"loan": "loan-1", "owed": 7})
        with pytest.raises(hw.InvalidEvent, match="a test gives a Requested"):
            await given.happened("loan-2", REQUESTED)


@pytest.mark.parametrize(
    ("table", "rows", "says"),
    [
        ("loans", [{"loan": "loan-1", "owed": 5}], "- {'loan': 'loan-1', 'owed': 5}"),
        ("loans", [{"loan": "loan-1", "owed": 5}], "+ {'loan': 'loan-1', 'owed': 1000}"),
        ("loans", [], "+ {'loan': 'loan-1', 'applicant': '112', 'owed': 1000}"),
        ("loans", [{"owed": 1000}, {"owed": 1000}], "- {'owed': 1000}"),
        ("loans", [{"loan": "loan-1"}], None),
        ("approvals", [{"loan": "loan-1"}], "+ nothing"),
        ("loans", [{"lona": "loan-1"}], "loans has no column 'lona'; it has loan, applicant, owed"),
        ("lones", [], "no table 'lones'; it has loans, approvals"),
    ],
)
async def test_what_is_wrong_is_told(table: str, rows: list[dict[str, Any]], says: str | None) -> None:
    async with given_projection(Owed(), codec=CODEC) as given:
        await given.happened("loan-1", REQUESTED)
        if says is None:
            await given.then(table, *rows)
            return
        with pytest.raises(AssertionError) as told:
            await given.then(table, *rows)
        assert says in str(told.value)
        if "no " not in says:
            assert str(told.value).startswith("given loan-1: Requested(applicant='112', amount=1000)\nthen the rows of")


async def test_what_a_handler_raises_passes_through() -> None:
    async with given_projection(Owed(), codec=CODEC) as given:
        await given.happened("loan-1", REQUESTED, REQUESTED)
        with pytest.raises(hw.TargetFailed, match="UNIQUE"):
            await given.rows("loans")
