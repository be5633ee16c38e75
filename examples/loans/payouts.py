"""What follows from an approval: the money is sent, once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import headwater as hw
from examples.loans.events import CODEC, LoanApproved, LoanPaidOut

Pay = Callable[[str, int, str], Awaitable[str]]
"""The payment service: ``(loan, euros, idempotency key) -> number of the payment``."""


def payouts(store: hw.EventStore, pay: Pay) -> hw.Consumer:
    """The reactor that has approved loans paid out. ``async with`` it, or ``await payouts(…).run()``.

    A process that dies between paying and noting it pays again when it comes back, with the same key: so the service
    knows. What is appended has an id made from the approval's, and is stored once.
    """

    async def pay_out(event: hw.Event, reaction: hw.Reaction) -> None:
        approved: LoanApproved = CODEC.decode(event)
        assert event.stream is not None
        payment = await pay(event.stream, approved.amount, reaction.key)
        await reaction.append(event.stream, CODEC.encode(LoanPaidOut(payment)))

    return store.reactor("payouts", pay_out, query=hw.Query([hw.QueryItem(types=["LoanApproved"])]))
