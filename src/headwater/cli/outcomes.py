"""A small read model for the demonstration: what became of the loan applications, by the amount asked for.

This is all that a read model needs to be: a state, and a function that folds one event into it.
"""

from __future__ import annotations

from collections import Counter

from headwater.events import Event
from headwater.queries import Query, QueryItem

__all__ = ["OUTCOMES", "LoanOutcomes"]

OUTCOMES = {"A_APPROVED": "approved", "A_DECLINED": "declined", "A_CANCELLED": "cancelled"}
"""Type of event → what it means for the application."""

_BRACKETS = {5_000: "up to 5,000", 10_000: "to 10,000", 20_000: "to 20,000", 50_000: "to 50,000"}
_OVER = "over 50,000"


class LoanOutcomes:
    """Counts of outcomes per bracket of the amount; an application without an outcome yet is open."""

    query = Query([QueryItem(types=["A_SUBMITTED", *OUTCOMES], categories=["loan"])])
    """The events that it needs."""

    def __init__(self) -> None:
        self._bracket: dict[str, str] = {}
        self._outcome: dict[str, str] = {}

    def fold(self, event: Event) -> None:
        """Take one event in."""
        loan = event.stream or ""
        if event.type == "A_SUBMITTED":
            self._bracket[loan] = _bracket_of(int(event.data["case"]["AMOUNT_REQ"]))
        else:
            self._outcome[loan] = OUTCOMES[event.type]

    def rows(self) -> list[tuple[str, Counter[str]]]:
        """Each bracket with the number of its applications per outcome."""
        counts: dict[str, Counter[str]] = {name: Counter() for name in (*_BRACKETS.values(), _OVER)}
        for loan, bracket in self._bracket.items():
            counts[bracket][self._outcome.get(loan, "open")] += 1
        return list(counts.items())


def _bracket_of(amount: int) -> str:
    return next((name for most, name in _BRACKETS.items() if amount <= most), _OVER)
