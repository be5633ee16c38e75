"""Unique usernames, without a table of names and without a saga. See https://dcb.events/examples.

In stages: 1. a name is given once; 2. it is free again when its account is closed; 3. an account may change its name;
4. a name that was given up is kept back for three days, so that nobody poses as its last owner.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

import headwater as hw
from examples.boundaries import Refused

KEPT_BACK = timedelta(days=3)


@hw.event("AccountRegistered", tags=lambda event: [f"account:{event.account}", f"username:{event.name}"])
class AccountRegistered(msgspec.Struct, frozen=True):
    account: str
    name: str


@hw.event(
    "UsernameChanged", tags=lambda event: [f"account:{event.account}", f"username:{event.old}", f"username:{event.new}"]
)
class UsernameChanged(msgspec.Struct, frozen=True):
    account: str
    old: str
    new: str
    at: datetime


@hw.event("AccountClosed", tags=lambda event: [f"account:{event.account}", f"username:{event.name}"])
class AccountClosed(msgspec.Struct, frozen=True):
    account: str
    name: str
    at: datetime


CODEC = hw.Codec([AccountRegistered, UsernameChanged, AccountClosed])


class Name(msgspec.Struct, frozen=True):
    """What is known of a name."""

    held: bool = False
    given_up: datetime | None = None

    def check_free(self, name: str, now: datetime) -> None:
        """Raise ``Refused`` where it can't be given to anybody now."""
        if self.held:
            raise Refused(f"{name} is taken")
        if self.given_up is not None and now - self.given_up < KEPT_BACK:
            raise Refused(f"{name} is kept back until {self.given_up + KEPT_BACK:%d %B}")


def name_of(account: str) -> hw.Fact[str | None]:
    """The name that an account has; None where it is closed or was never there."""

    def evolve(_: str | None, event: Any) -> str | None:
        match event:
            case AccountRegistered(_, name) | UsernameChanged(_, _, name):
                return str(name)
        return None

    return hw.Fact(None, evolve, tags=[f"account:{account}"])


def state_of(name: str) -> hw.Fact[Name]:
    """Whether a name is held, and when it was given up."""

    def evolve(_: Name, event: Any) -> Name:
        match event:
            case AccountClosed(at=at):
                return Name(given_up=at)
            case UsernameChanged(old=old, at=at) if old == name:
                return Name(given_up=at)
        return Name(held=True)

    return hw.Fact(Name(), evolve, tags=[f"username:{name}"])


class Accounts:
    """What the holder of an account can do."""

    def __init__(self, store: hw.EventStore) -> None:
        self._boundary = hw.Boundary(store, CODEC)

    async def register(self, account: str, name: str, *, now: datetime) -> None:
        def decide(known: Any) -> list[object]:
            if known.present is not None:
                raise Refused(f"account {account} is {known.present} already")
            known.wanted.check_free(name, now)
            return [AccountRegistered(account, name)]

        await self._boundary.execute({"present": name_of(account), "wanted": state_of(name)}, decide)

    async def change_name(self, account: str, name: str, *, now: datetime) -> None:
        def decide(known: Any) -> list[object]:
            if known.present is None:
                raise Refused(f"there is no account {account}")
            if known.present == name:
                return []
            known.wanted.check_free(name, now)
            return [UsernameChanged(account, known.present, name, now)]

        await self._boundary.execute({"present": name_of(account), "wanted": state_of(name)}, decide)

    async def close(self, account: str, *, now: datetime) -> None:
        def decide(known: Any) -> list[object]:
            return [] if known.present is None else [AccountClosed(account, known.present, now)]

        await self._boundary.execute({"present": name_of(account)}, decide)


async def main() -> None:
    monday = datetime(2026, 11, 2, 9, tzinfo=UTC)
    async with hw.connect("memory:") as store:
        accounts = Accounts(store)
        await accounts.register("1", "ada", now=monday)
        await accounts.change_name("1", "countess", now=monday)
        try:
            await accounts.register("2", "ada", now=monday + timedelta(days=1))
        except Refused as refused:
            print(refused)
        await accounts.register("2", "ada", now=monday + KEPT_BACK)
        print([event.type async for event in store.read_all()])


if __name__ == "__main__":
    asyncio.run(main())
