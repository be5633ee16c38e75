"""Prices that change while customers look at them. See https://dcb.events/examples.

In stages: 1. an order is taken at the price that the customer was shown, if that is the price; 2. prices change, and
the price of before holds for another ten minutes; 3. an order is a cart of several products, and depends on the prices
of just these.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

import headwater as hw
from examples.boundaries import Refused

GRACE = timedelta(minutes=10)


@hw.event("ProductDefined", tags=lambda event: [f"product:{event.product}"])
class ProductDefined(msgspec.Struct, frozen=True):
    product: str
    cents: int


@hw.event("ProductPriceChanged", tags=lambda event: [f"product:{event.product}"])
class ProductPriceChanged(msgspec.Struct, frozen=True):
    product: str
    cents: int
    at: datetime


@hw.event("ProductsOrdered", tags=lambda event: [f"product:{product}" for product in event.cents_by_product])
class ProductsOrdered(msgspec.Struct, frozen=True):
    cents_by_product: dict[str, int]


CODEC = hw.Codec([ProductDefined, ProductPriceChanged, ProductsOrdered])


class Prices(msgspec.Struct, frozen=True):
    """The price of a product now, and those of before with the moment when each ended."""

    now: int | None = None
    before: tuple[tuple[int, datetime], ...] = ()

    def hold(self, cents: int, moment: datetime) -> bool:
        """Whether somebody may buy at this price."""
        return cents == self.now or any(cents == old and moment - end <= GRACE for old, end in self.before)


def prices_of(product: str) -> hw.Fact[Prices]:
    def evolve(known: Prices, event: Any) -> Prices:
        if isinstance(event, ProductPriceChanged) and known.now is not None:
            return Prices(event.cents, (*known.before, (known.now, event.at)))
        return Prices(event.cents)

    types = [ProductDefined, ProductPriceChanged]  # no orders: two orders of a product do not wait for each other
    return hw.Fact(Prices(), evolve, types=types, tags=[f"product:{product}"])


class Shop:
    """What the shop and its customers can do."""

    def __init__(self, store: hw.EventStore) -> None:
        self._boundary = hw.Boundary(store, CODEC)

    async def define(self, product: str, cents: int) -> None:
        def decide(known: Any) -> list[object]:
            if known.prices.now is not None:
                raise Refused(f"{product} is defined already")
            return [ProductDefined(product, cents)]

        await self._boundary.execute({"prices": prices_of(product)}, decide)

    async def change_price(self, product: str, cents: int, *, instead_of: int, now: datetime) -> None:
        """Two who change it at once have seen the same price: the second is refused."""

        def decide(known: Any) -> list[object]:
            if known.prices.now != instead_of:
                raise Refused(f"{product} costs {known.prices.now}, not {instead_of}")
            return [ProductPriceChanged(product, cents, now)]

        await self._boundary.execute({"prices": prices_of(product)}, decide)

    async def order(self, shown: Mapping[str, int], *, now: datetime) -> None:
        """Order these products at the prices that the customer was shown, in cents: all of them, or none."""

        def decide(known: Any) -> list[object]:
            prices: dict[str, Prices] = vars(known)
            for product, cents in shown.items():
                if not prices[product].hold(cents, now):
                    raise Refused(f"{product} does not cost {cents}")
            return [ProductsOrdered(dict(shown))]

        await self._boundary.execute({product: prices_of(product) for product in shown}, decide)


async def main() -> None:
    noon = datetime(2026, 11, 2, 12, tzinfo=UTC)
    async with hw.connect("memory:") as store:
        shop = Shop(store)
        await shop.define("tea", 450)
        await shop.define("cup", 900)
        await shop.change_price("tea", 500, instead_of=450, now=noon)
        await shop.order({"tea": 450, "cup": 900}, now=noon + timedelta(minutes=9))
        try:
            await shop.order({"tea": 450, "cup": 900}, now=noon + timedelta(minutes=11))
        except Refused as refused:
            print(refused)


if __name__ == "__main__":
    asyncio.run(main())
