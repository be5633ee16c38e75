"""Invoice numbers: 1, 2, 3, without a gap and none twice. See https://dcb.events/examples.

In stages: 1. the next number is one more than the last; 2. only the last invoice is read for it, however many there
are. Numbers from a database's sequence have gaps after every rollback; these have none, as the number is part of the
event, and the event is stored only if no other invoice came first.
"""

from __future__ import annotations

import asyncio

import msgspec

import headwater as hw


@hw.event("InvoiceCreated", tags=lambda event: [f"customer:{event.customer}"])
class InvoiceCreated(msgspec.Struct, frozen=True):
    number: int
    customer: str
    cents: int


CODEC = hw.Codec([InvoiceCreated])

NEXT_NUMBER = hw.Fact(1, lambda _, event: int(event.number) + 1, types=[InvoiceCreated], last=True)
"""``last``: one event is read."""


class Invoices:
    """The bank of numbers. All invoices of a store wait for each other: it is one sequence."""

    def __init__(self, store: hw.EventStore) -> None:
        self._boundary = hw.Boundary(store, CODEC, retry=hw.Retry(attempts=None, first=0.002, most=0.1))

    async def create(self, customer: str, cents: int, *, id: str | None = None) -> int:
        """The number of the new invoice. With the same ``id`` again: the number of the first time."""
        done = await self._boundary.execute(
            {"number": NEXT_NUMBER}, lambda known: [InvoiceCreated(known.number, customer, cents)], id=id
        )
        created: InvoiceCreated = done.events[0]
        return created.number


async def main() -> None:
    async with hw.connect("memory:") as store:
        invoices = Invoices(store)
        numbers = await asyncio.gather(*[invoices.create("112", 20_00) for _ in range(5)])
        print(sorted(numbers))


if __name__ == "__main__":
    asyncio.run(main())
