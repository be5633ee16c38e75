"""A loan application with its applicant's name in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

import headwater as hw


@hw.event("LoanRequested", tags=lambda e: [f"applicant:{e.applicant}"])
class Requested(msgspec.Struct, frozen=True):
    applicant: str
    name: Annotated[str, hw.Personal(subject="applicant")]
    amount: int


@hw.event("InstalmentPaid")
class Paid(msgspec.Struct, frozen=True):
    amount: int


class Loan(msgspec.Struct, frozen=True):
    name: str = ""
    paid: int = 0


def decide(command: object, loan: Loan) -> list[object]:
    return [command]


def evolve(loan: Loan, event: object) -> Loan:
    match event:
        case Requested(_, name, _):
            return msgspec.structs.replace(loan, name=name)
        case Paid(amount):
            return msgspec.structs.replace(loan, paid=loan.paid + amount)
    return loan


CODEC = hw.Codec([Requested, Paid])
RULE: hw.Decider[object, Loan] = hw.Decider(Loan(), decide, evolve, name="loan")
ADA = Requested("112", "Ada Lovelace", 20_000)
STREAM = "loan-173688"


def urls(folder: Path) -> tuple[str, str]:
    """A store and its vault."""
    return f"sqlite:///{folder}/loans.db", f"sqlite:///{folder}/keys.db"
