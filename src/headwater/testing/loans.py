"""A real loan application to test with: case 173688 of the BPI Challenge 2012 event log (Van Dongen, 4TU.ResearchData).

A customer of a Dutch bank asks for 20,000 euros; automatic checks, phone calls and an offer follow, until the loan
is activated. Twenty-six events in thirteen days.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from headwater.events import NewEvent

__all__ = ["CASE", "HISTORY", "Step", "applications", "loan"]

CASE = "loan-173688"
"""The stream of the case."""


class Step(NamedTuple):
    """One event of the case as the log has it."""

    activity: str
    transition: str
    resource: str | None
    moment: str

    @property
    def type(self) -> str:
        """The event's type: an activity with its transition, where it is more than a single moment."""
        return self.activity if self.activity[0] in "AO" else f"{self.activity} {self.transition}"


_COMPLETE, _START, _SCHEDULE = "COMPLETE", "START", "SCHEDULE"

HISTORY = (
    Step("A_SUBMITTED", _COMPLETE, "112", "2011-10-01T00:38:44.546+02:00"),
    Step("A_PARTLYSUBMITTED", _COMPLETE, "112", "2011-10-01T00:38:44.880+02:00"),
    Step("A_PREACCEPTED", _COMPLETE, "112", "2011-10-01T00:39:37.906+02:00"),
    Step("W_Completeren aanvraag", _SCHEDULE, "112", "2011-10-01T00:39:38.875+02:00"),
    Step("W_Completeren aanvraag", _START, None, "2011-10-01T11:36:46.437+02:00"),
    Step("A_ACCEPTED", _COMPLETE, "10862", "2011-10-01T11:42:43.308+02:00"),
    Step("O_SELECTED", _COMPLETE, "10862", "2011-10-01T11:45:09.243+02:00"),
    Step("A_FINALIZED", _COMPLETE, "10862", "2011-10-01T11:45:09.243+02:00"),
    Step("O_CREATED", _COMPLETE, "10862", "2011-10-01T11:45:11.197+02:00"),
    Step("O_SENT", _COMPLETE, "10862", "2011-10-01T11:45:11.380+02:00"),
    Step("W_Nabellen offertes", _SCHEDULE, None, "2011-10-01T11:45:11.554+02:00"),
    Step("W_Completeren aanvraag", _COMPLETE, None, "2011-10-01T11:45:13.917+02:00"),
    Step("W_Nabellen offertes", _START, None, "2011-10-01T12:15:41.290+02:00"),
    Step("W_Nabellen offertes", _COMPLETE, None, "2011-10-01T12:17:08.924+02:00"),
    Step("W_Nabellen offertes", _START, "10913", "2011-10-08T16:26:57.720+02:00"),
    Step("W_Nabellen offertes", _COMPLETE, "10913", "2011-10-08T16:32:00.886+02:00"),
    Step("W_Nabellen offertes", _START, "11049", "2011-10-10T11:32:22.495+02:00"),
    Step("O_SENT_BACK", _COMPLETE, "11049", "2011-10-10T11:33:03.668+02:00"),
    Step("W_Valideren aanvraag", _SCHEDULE, "11049", "2011-10-10T11:33:04.560+02:00"),
    Step("W_Nabellen offertes", _COMPLETE, "11049", "2011-10-10T11:33:05.791+02:00"),
    Step("W_Valideren aanvraag", _START, "10629", "2011-10-13T10:05:26.925+02:00"),
    Step("A_REGISTERED", _COMPLETE, "10629", "2011-10-13T10:37:29.226+02:00"),
    Step("A_APPROVED", _COMPLETE, "10629", "2011-10-13T10:37:29.226+02:00"),
    Step("O_ACCEPTED", _COMPLETE, "10629", "2011-10-13T10:37:29.226+02:00"),
    Step("A_ACTIVATED", _COMPLETE, "10629", "2011-10-13T10:37:29.226+02:00"),
    Step("W_Valideren aanvraag", _COMPLETE, "10629", "2011-10-13T10:37:37.026+02:00"),
)


def loan(count: int = len(HISTORY), *, skip: int = 0, case: str = CASE) -> list[NewEvent]:
    """New events with the case's history, ``count`` of them from the one after ``skip``; it repeats where it ends."""
    steps = itertools.islice(itertools.cycle(HISTORY), skip, skip + count)
    return [_event(step, case) for step in steps]


def applications() -> Iterator[list[NewEvent]]:
    """One submitted application after the other, each an append of one event."""
    return ([_event(HISTORY[0], CASE)] for _ in itertools.count())


def _event(step: Step, case: str) -> NewEvent:
    data: dict[str, Any] = {"case": case, "amount": 20000} if step is HISTORY[0] else {"case": case}
    tags = [f"case:{case}"]
    if step.resource is not None:
        data["resource"] = step.resource
        tags.append(f"resource:{step.resource}")
    return NewEvent(step.type, data, tags=tags, occurred_at=datetime.fromisoformat(step.moment))
