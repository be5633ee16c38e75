"""No record twice: a form that is sent twice makes one order. See https://dcb.events/examples.

In stages: 1. the form carries a token that was made with it, and a token that was used is refused; 2. the sender that
repeats itself because it got no answer gets the first answer: Headwater does that by the id of a command.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

import headwater as hw
from examples.boundaries import Refused


@hw.event("OrderPlaced", tags=lambda event: [f"order:{event.order}", f"token:{event.token}"])
class OrderPlaced(msgspec.Struct, frozen=True):
    order: str
    token: str


CODEC = hw.Codec([OrderPlaced])


def used(token: str) -> hw.Fact[bool]:
    return hw.Fact(False, lambda *_: True, types=[OrderPlaced], tags=[f"token:{token}"])


class Orders:
    """What a customer's form can do."""

    def __init__(self, store: hw.EventStore) -> None:
        self._boundary = hw.Boundary(store, CODEC)

    async def place(self, order: str, token: str) -> None:
        """Whoever sends the form again is told so."""

        def decide(known: Any) -> list[object]:
            if known.used:
                raise Refused("this form was sent before")
            return [OrderPlaced(order, token)]

        await self._boundary.execute({"used": used(token)}, decide)

    async def place_or_find(self, order: str, token: str) -> str:
        """Whoever sends the form again gets the order of the first time."""
        done = await self._boundary.execute({}, lambda _: [OrderPlaced(order, token)], id=f"form {token}")
        placed: OrderPlaced = done.events[0]
        return placed.order


async def main() -> None:
    async with hw.connect("memory:") as store:
        orders = Orders(store)
        await orders.place("order-1", "d3b0")
        try:
            await orders.place("order-2", "d3b0")
        except Refused as refused:
            print(refused)
        print(await orders.place_or_find("order-3", "9c1e"), await orders.place_or_find("order-4", "9c1e"))


if __name__ == "__main__":
    asyncio.run(main())
