"""The rules of one loan application: plain values and functions, tested without a store."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

import headwater as hw
from examples.loans.events import (
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


class Refused(Exception):
    """What the bank does not do, and why."""


# What is asked for: commands.


class Request(msgspec.Struct, frozen=True):
    amount: int


class Preaccept(msgspec.Struct, frozen=True):
    pass


class Accept(msgspec.Struct, frozen=True):
    by: str


class SendOffer(msgspec.Struct, frozen=True):
    by: str


class WithdrawOffer(msgspec.Struct, frozen=True):
    pass


class ReturnOffer(msgspec.Struct, frozen=True):
    pass


class Approve(msgspec.Struct, frozen=True):
    by: str


class Decline(msgspec.Struct, frozen=True):
    by: str


class Cancel(msgspec.Struct, frozen=True):
    pass


Command = Request | Preaccept | Accept | SendOffer | WithdrawOffer | ReturnOffer | Approve | Decline | Cancel


# What is known: the state.


class Stage(StrEnum):
    NEW = "new"
    REQUESTED = "requested"
    PREACCEPTED = "preaccepted"
    ACCEPTED = "accepted"
    APPROVED = "approved"
    PAID_OUT = "paid out"
    DECLINED = "declined"
    CANCELLED = "cancelled"


ENDED = (Stage.APPROVED, Stage.PAID_OUT, Stage.DECLINED, Stage.CANCELLED)


class Loan(msgspec.Struct, frozen=True):
    stage: Stage = Stage.NEW
    amount: int = 0
    offers: int = 0
    """How many the customer holds."""
    signed: bool = False


def decide(command: Command, loan: Loan) -> list[object]:
    """The events that follow from the command, or ``Refused``."""
    if isinstance(command, Request):
        return _requested(command, loan)
    if loan.stage is Stage.NEW:
        raise Refused("nobody has requested this loan")
    if loan.stage in ENDED:
        return _after_the_end(command, loan)
    match command:
        case Preaccept():
            _need(loan.stage is Stage.REQUESTED, f"it is {loan.stage} already")
            return [LoanPreaccepted()]
        case Accept(by):
            _need(loan.stage is Stage.PREACCEPTED, f"it is {loan.stage}, not preaccepted")
            return [LoanAccepted(by)]
        case SendOffer(by):
            _need(loan.stage is Stage.ACCEPTED, "an offer needs an accepted application")
            return [OfferSent(by)]
        case WithdrawOffer():
            return [OfferWithdrawn()] if loan.offers else []
        case ReturnOffer():
            _need(loan.offers > 0, "no offer was sent")
            return [OfferReturned()]
        case Approve(by):
            _need(loan.signed, "the customer has signed no offer")
            return [LoanApproved(by, loan.amount)]
        case Decline(by):
            return [LoanDeclined(by)]
        case Cancel():
            return [LoanCancelled()]


def _requested(command: Request, loan: Loan) -> list[object]:
    _need(loan.stage is Stage.NEW, "this loan was requested before")
    _need(command.amount > 0, "the amount must be above zero")
    return [LoanRequested(command.amount)]


def _after_the_end(command: Command, loan: Loan) -> list[object]:
    if isinstance(command, WithdrawOffer):
        return []  # an offer ends with its application
    raise Refused(f"the application is {loan.stage}")


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Refused(otherwise)


def evolve(loan: Loan, event: Any) -> Loan:
    """The state after an event. It never fails: the event has happened."""
    match event:
        case LoanRequested(amount):
            return Loan(Stage.REQUESTED, amount)
        case LoanPreaccepted():
            return replace(loan, stage=Stage.PREACCEPTED)
        case LoanAccepted():
            return replace(loan, stage=Stage.ACCEPTED)
        case OfferSent():
            return replace(loan, offers=loan.offers + 1)
        case OfferWithdrawn():
            return replace(loan, offers=loan.offers - 1, signed=False)
        case OfferReturned():
            return replace(loan, signed=True)
        case LoanApproved():
            return replace(loan, stage=Stage.APPROVED)
        case LoanDeclined():
            return replace(loan, stage=Stage.DECLINED)
        case LoanCancelled():
            return replace(loan, stage=Stage.CANCELLED)
        case LoanPaidOut():
            return replace(loan, stage=Stage.PAID_OUT)
    return loan


LOAN = hw.Decider(Loan(), decide, evolve, name="loan")
