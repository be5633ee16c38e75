"""What can happen to a loan application. The names in ``@hw.event`` are what is stored; they never change."""

from __future__ import annotations

from typing import Protocol

import msgspec

import headwater as hw


class _ByClerk(Protocol):
    @property
    def by(self) -> str: ...


def by_clerk(event: _ByClerk) -> list[str]:
    """Makes an event findable by who did it."""
    return [f"clerk:{event.by}"]


@hw.event("LoanRequested")
class LoanRequested(msgspec.Struct, frozen=True):
    amount: int
    """In euros."""


@hw.event("LoanPreaccepted")
class LoanPreaccepted(msgspec.Struct, frozen=True):
    """The automatic checks found nothing."""


@hw.event("LoanAccepted", tags=by_clerk)
class LoanAccepted(msgspec.Struct, frozen=True):
    """A clerk has all that an offer needs."""

    by: str


@hw.event("OfferSent", tags=by_clerk)
class OfferSent(msgspec.Struct, frozen=True):
    by: str


@hw.event("OfferWithdrawn")
class OfferWithdrawn(msgspec.Struct, frozen=True):
    pass


@hw.event("OfferReturned")
class OfferReturned(msgspec.Struct, frozen=True):
    """The customer has signed it."""


@hw.event("LoanApproved", tags=by_clerk)
class LoanApproved(msgspec.Struct, frozen=True):
    by: str
    amount: int


@hw.event("LoanDeclined", tags=by_clerk)
class LoanDeclined(msgspec.Struct, frozen=True):
    by: str


@hw.event("LoanCancelled")
class LoanCancelled(msgspec.Struct, frozen=True):
    """The customer does not want it any more."""


@hw.event("LoanPaidOut")
class LoanPaidOut(msgspec.Struct, frozen=True):
    payment: str
    """The payment service's number."""


CODEC = hw.Codec(
    [
        LoanRequested,
        LoanPreaccepted,
        LoanAccepted,
        OfferSent,
        OfferWithdrawn,
        OfferReturned,
        LoanApproved,
        LoanDeclined,
        LoanCancelled,
        LoanPaidOut,
    ]
)
