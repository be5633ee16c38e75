"""The desk where commands come in: each is decided on what is stored, and what was decided is appended."""

from __future__ import annotations

from typing import Any

import headwater as hw
from examples.loans.events import CODEC, LoanApproved
from examples.loans.rules import LOAN, Approve, Command, Loan, Refused

APPROVALS_MOST = 100_000
"""Euros that one clerk may approve in all; for more, the bank wants another pair of eyes."""


class Desk:
    """Executes commands on the loans of a store."""

    def __init__(self, store: hw.EventStore, approvals_most: int = APPROVALS_MOST) -> None:
        self._loans = hw.Repository(store, CODEC, LOAN)
        self._bank = hw.Boundary(store, CODEC)
        self._approvals_most = approvals_most

    async def execute(self, stream: str, command: Command, *, id: str | None = None) -> hw.Executed:
        """Decide a command, and append what follows. ``Refused`` where a rule forbids it.

        Where two come at once, the second is decided on what the first has changed. With an ``id``, a command that
        is sent twice is executed once.
        """
        if isinstance(command, Approve):
            return await self._approve(stream, command, id)
        return await self._loans.execute(stream, command, id=id)

    async def _approve(self, stream: str, command: Approve, id: str | None) -> hw.Executed:
        """A rule over many streams: what this clerk has approved elsewhere counts too.

        The decision rests on two facts, each found by a query. It is stored on condition that neither has changed.
        """

        def decide(known: Any) -> list[object]:
            if known.approved + known.loan.amount > self._approvals_most:
                raise Refused(f"clerk {command.by} would have approved more than {self._approvals_most:,} euros")
            return LOAN.decide(command, known.loan)

        return await self._bank.execute(
            {"loan": loan_of(stream), "approved": approved_by(command.by)}, decide, stream=stream, id=id
        )

    async def loan(self, stream: str) -> Loan:
        """What is known of a loan now."""
        return (await self._loans.load(stream)).state


def loan_of(stream: str) -> hw.Fact[Loan]:
    """The state of one application."""
    return hw.Fact(Loan(), LOAN.evolve, query=hw.Query([hw.QueryItem(streams=[stream])]))


def approved_by(clerk: str) -> hw.Fact[int]:
    """How many euros a clerk has approved."""
    return hw.Fact(0, lambda total, event: total + event.amount, types=[LoanApproved], tags=[f"clerk:{clerk}"])
