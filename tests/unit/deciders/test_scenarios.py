"""Given, when, then: what it accepts, and how it tells what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

import headwater as hw
from headwater.testing.scenarios import given, given_facts, given_fold
from tests.unit.deciders import test_boundaries as courses
from tests.unit.deciders.loans import (
    CODEC,
    RULE,
    Approve,
    Approved,
    Loan,
    LoanAggregate,
    Paid,
    Pay,
    Refused,
    Request,
    Requested,
)

REQUESTED = Requested("112", 1_000)


def test_a_rule_that_holds() -> None:
    given(RULE).when(Request("112", 1_000)).then(REQUESTED)
    given(RULE, REQUESTED).when(Approve("anna")).then(Approved("anna"))
    given(RULE, REQUESTED, Approved("anna")).when(Approve("bert")).then_nothing()
    given(RULE, REQUESTED, Paid(900)).when(Pay(101)).refused(Refused, match="owed")
    given(RULE, REQUESTED, Paid(900)).then_state(Loan(1_000, paid=900))
    given(LoanAggregate, REQUESTED).when(lambda loan: loan.pay(5)).then(Paid(5))
    given(LoanAggregate, REQUESTED).when(lambda loan: loan.request("112", 7)).refused(Refused)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: given(RULE, REQUESTED).when(Pay(5)).then(Paid(6)), "- Paid(amount=6)"),
        (lambda: given(RULE, REQUESTED).when(Pay(5)).then_nothing(), "+ Paid(amount=5)"),
        (lambda: given(RULE, REQUESTED).when(Pay(5)).refused(Refused), "it led to Paid(amount=5)"),
        (lambda: given(RULE).when(Pay(5)).then(Paid(5)), "it was refused: Refused('more than is owed')"),
        (lambda: given(RULE).when(Pay(5)).refused(Refused, match="yet"), "not by Refused, 'yet'"),
        (lambda: given(RULE).when(Pay(5)).refused(KeyError), "not by KeyError"),
        (lambda: given(RULE, REQUESTED).then_state(Loan()), "- Loan(amount=0"),
    ],
)
def test_what_is_wrong_is_told(wrong: Any, says: str) -> None:
    with pytest.raises(AssertionError) as told:
        wrong()
    assert says in str(told.value)
    assert str(told.value).startswith("given ")


def test_decisions_over_queries() -> None:
    def decide(model: Any) -> list[object]:
        if model.taken >= model.capacity:
            raise courses.No("full")
        return [courses.StudentSubscribed("c1", "s2")]

    facts = {"capacity": courses.capacity("c1"), "taken": courses.taken("c1")}
    one, other = courses.CourseDefined("c1", 1), courses.CourseDefined("c2", 1)
    subscribed = [courses.StudentSubscribed(course, "s1") for course in ("c1", "c2")]
    given_facts(courses.CODEC, one, other, subscribed[1]).when(facts, decide).then(
        courses.StudentSubscribed("c1", "s2")
    )
    given_facts(courses.CODEC, one, *subscribed).when(facts, decide).refused(courses.No, match="full")


class Total(hw.Fold[int]):
    def initial(self) -> int:
        return 0

    @hw.handles("InstalmentPaid")
    def paid(self, event: hw.Event, state: int) -> int:
        amount: int = event.data["amount"]
        return state + amount


def test_a_fold() -> None:
    assert given_fold(Total(), CODEC, REQUESTED, Paid(5), Paid(7)) == 12
