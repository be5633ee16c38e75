"""The rules of a small bank, as a decider and as an aggregate."""

from __future__ import annotations

from typing import Any

import msgspec

import headwater as hw
from headwater.deciders import Aggregate, Decider, applies
from headwater.typed import Codec, event


@event("LoanRequested", tags=lambda e: [f"applicant:{e.applicant}"])
class Requested(msgspec.Struct, frozen=True):
    applicant: str
    amount: int


@event("LoanApproved")
class Approved(msgspec.Struct, frozen=True):
    by: str


@event("InstalmentPaid")
class Paid(msgspec.Struct, frozen=True):
    amount: int


class Request(msgspec.Struct, frozen=True):
    applicant: str
    amount: int


class Approve(msgspec.Struct, frozen=True):
    by: str


class Pay(msgspec.Struct, frozen=True):
    amount: int


class Refused(Exception):
    """What the bank does not do."""


class Loan(msgspec.Struct, frozen=True):
    amount: int = 0
    paid: int = 0
    approved: bool = False


def decide(command: Any, loan: Loan) -> list[object]:
    match command:
        case Request() if loan.amount:
            raise Refused("requested already")
        case Request(applicant, amount):
            return [Requested(applicant, amount)]
        case Approve(by):
            return [] if loan.approved else [Approved(by)]
        case Pay(amount) if loan.paid + amount > loan.amount:
            raise Refused("more than is owed")
        case Pay(amount):
            return [Paid(amount)]
    raise AssertionError(command)


def evolve(loan: Loan, event: Any) -> Loan:
    match event:
        case Requested(_, amount):
            return Loan(amount)
        case Approved():
            return msgspec.structs.replace(loan, approved=True)
        case Paid(amount):
            return msgspec.structs.replace(loan, paid=loan.paid + amount)
    return loan


CODEC = Codec([Requested, Approved, Paid])
RULE: Decider[Any, Loan] = Decider(Loan(), decide, evolve, name="loan")


class LoanAggregate(Aggregate):
    def __init__(self) -> None:
        self.amount = 0
        self.paid = 0
        self.approved = False

    def request(self, applicant: str, amount: int) -> None:
        if self.amount:
            raise Refused("requested already")
        self.record(Requested(applicant, amount))

    def approve(self, by: str) -> None:
        if not self.approved:
            self.record(Approved(by))

    def pay(self, amount: int) -> None:
        if self.paid + amount > self.amount:
            raise Refused("more than is owed")
        self.record(Paid(amount))

    @applies(Requested)
    def _requested(self, event: Requested) -> None:
        self.amount = event.amount

    @applies(Approved)
    def _approved(self, event: Approved) -> None:
        self.approved = True

    @applies(Paid)
    def _paid(self, event: Paid) -> None:
        self.paid += event.amount


STREAM = "loan-173688"


async def types_of(store: hw.EventStore, stream: str = STREAM) -> list[str]:
    return [each.type async for each in store.read(stream)]
