"""A read model: one row for each application, in a SQLite file that anybody may query."""

from __future__ import annotations

import headwater as hw
from examples.loans.events import CODEC
from examples.loans.rules import Stage

STAGES = {
    "LoanPreaccepted": Stage.PREACCEPTED,
    "LoanAccepted": Stage.ACCEPTED,
    "LoanApproved": Stage.APPROVED,
    "LoanDeclined": Stage.DECLINED,
    "LoanCancelled": Stage.CANCELLED,
    "LoanPaidOut": Stage.PAID_OUT,
}


class Overview(hw.Projection):
    """Where each application is. Rows and position change in one transaction, so each event counts once."""

    name = "overview"
    tables = """
        create table {applications} (
            loan   text primary key,
            amount bigint not null,
            stage  text not null,
            offers bigint not null
        )
    """

    @hw.handles("LoanRequested")
    def requested(self, event: hw.Event, view: hw.View) -> None:
        view.execute(
            "insert into {applications} (loan, amount, stage, offers) values (:loan, :amount, :stage, 0)",
            {"loan": event.stream, "amount": CODEC.decode(event).amount, "stage": str(Stage.REQUESTED)},
        )

    @hw.handles(*STAGES)
    def moved_on(self, event: hw.Event, view: hw.View) -> None:
        view.execute(
            "update {applications} set stage = :stage where loan = :loan",
            {"loan": event.stream, "stage": str(STAGES[event.type])},
        )

    @hw.handles("OfferSent")
    def offered(self, event: hw.Event, view: hw.View) -> None:
        view.execute("update {applications} set offers = offers + 1 where loan = :loan", {"loan": event.stream})
