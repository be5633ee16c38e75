"""Double opt-in: a token that was mailed confirms one sign-up, once. See https://dcb.events/examples.

In stages: 1. a token is good for one confirmation; 2. it expires after an hour. No table of tokens is kept: the events
know which were given out and which were used.
"""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

import headwater as hw
from examples.boundaries import Refused

VALID = timedelta(hours=1)


def _tags(event: Any) -> list[str]:
    return [f"mail:{event.mail}", f"token:{event.token}"]


@hw.event("SignUpStarted", tags=_tags)
class SignUpStarted(msgspec.Struct, frozen=True):
    mail: str
    token: str
    at: datetime


@hw.event("SignUpConfirmed", tags=_tags)
class SignUpConfirmed(msgspec.Struct, frozen=True):
    mail: str
    token: str


CODEC = hw.Codec([SignUpStarted, SignUpConfirmed])


class SignUp(msgspec.Struct, frozen=True):
    """What is known of a token of an address."""

    started: datetime | None = None
    confirmed: bool = False


def sign_up(mail: str, token: str) -> hw.Fact[SignUp]:
    def evolve(known: SignUp, event: Any) -> SignUp:
        if isinstance(event, SignUpStarted):
            return SignUp(event.at)
        return msgspec.structs.replace(known, confirmed=True)

    return hw.Fact(SignUp(), evolve, tags=[f"mail:{mail}", f"token:{token}"])


class SignUps:
    """What a visitor can do."""

    def __init__(self, store: hw.EventStore) -> None:
        self._boundary = hw.Boundary(store, CODEC)

    async def start(self, mail: str, *, now: datetime) -> str:
        """The token, to be mailed."""
        token = secrets.token_urlsafe(12)
        await self._boundary.execute({}, lambda _: [SignUpStarted(mail, token, now)])
        return token

    async def confirm(self, mail: str, token: str, *, now: datetime) -> None:
        def decide(known: Any) -> list[object]:
            found: SignUp = known.sign_up
            if found.started is None:
                raise Refused("this token was not given to this address")
            if found.confirmed:
                raise Refused("this token was used before")
            if now - found.started > VALID:
                raise Refused("this token has expired")
            return [SignUpConfirmed(mail, token)]

        await self._boundary.execute({"sign_up": sign_up(mail, token)}, decide)


async def main() -> None:
    now = datetime.now(UTC)
    async with hw.connect("memory:") as store:
        sign_ups = SignUps(store)
        token = await sign_ups.start("ada@example.org", now=now)
        await sign_ups.confirm("ada@example.org", token, now=now)
        try:
            await sign_ups.confirm("ada@example.org", token, now=now)
        except Refused as refused:
            print(refused)


if __name__ == "__main__":
    asyncio.run(main())
