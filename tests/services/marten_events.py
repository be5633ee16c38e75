"""What a .NET application that lends money appends, and what goes wrong there."""

from __future__ import annotations

import time
import uuid
from typing import Any, NamedTuple

import msgspec

__all__ = ["Appended", "Archived", "Conflict", "Missing", "NetEvent", "approved", "comb", "disbursed", "requested"]


def comb() -> uuid.UUID:
    """An event id as Marten makes them: random, behind the time in milliseconds."""
    return uuid.UUID(int=time.time_ns() // 1_000_000 << 80 | uuid.uuid4().int & (1 << 80) - 1)


class NetEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the application, with the names that Marten gives its class."""

    type: str
    """The class's alias."""
    dotnet_type: str
    data: dict[str, Any]
    """As System.Text.Json writes it: names in PascalCase."""
    id: uuid.UUID = msgspec.field(default_factory=comb)
    headers: dict[str, Any] | None = None
    correlation: str | None = None
    causation: str | None = None
    user_name: str | None = None


def requested(amount: int = 20_000, applicant: str = "112", **more: Any) -> NetEvent:
    """``record LoanRequested(string Applicant, decimal Amount)``."""
    return _loan("loan_requested", "LoanRequested", {"Applicant": applicant, "Amount": amount}, more)


def approved(rate: float = 3.75, by: str = "Ines Löwe", **more: Any) -> NetEvent:
    """``record LoanApproved(string By, decimal Rate)``."""
    return _loan("loan_approved", "LoanApproved", {"By": by, "Rate": rate}, more)


def disbursed(account: str = "NL02", **more: Any) -> NetEvent:
    """``record LoanDisbursed(string Account)``."""
    return _loan("loan_disbursed", "LoanDisbursed", {"Account": account}, more)


def _loan(alias: str, name: str, data: dict[str, Any], more: dict[str, Any]) -> NetEvent:
    return NetEvent(type=alias, dotnet_type=f"Bank.Loans.{name}, Bank.Loans", data=data, **more)


class Appended(NamedTuple):
    """What an append did, or would have done if it had not been rolled back."""

    version: int
    """Of the stream afterwards."""
    numbers: tuple[int, ...]
    """The place in the log of each event."""


class Conflict(Exception):
    """Another writer was first.

    Marten's ``EventStreamUnexpectedMaxEventIdException`` and ``ExistingStreamIdCollisionException``.
    """

    def __init__(self, sqlstate: str | None, constraint: str | None = None, lost: tuple[int, ...] = ()) -> None:
        super().__init__(sqlstate, constraint)
        self.sqlstate = sqlstate
        """What the server said; None where Marten saw it by itself."""
        self.constraint = constraint
        self.lost = lost
        """The numbers that the application knows it has drawn in vain."""


class Archived(Exception):
    """The stream is archived (``InvalidStreamOperationException``)."""


class Missing(Exception):
    """There is no such stream (``NonExistentStreamException``)."""
