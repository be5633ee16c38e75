"""Given this history, when this event comes, then this follows: tests of reactors and process managers.

::

    async with given_store() as given:
        await given.happened("loan-173688", NewEvent("A_SUBMITTED", {"amount": 20000}))
        outcome = await given.when(send_offer, "loan-173688", NewEvent("A_ACCEPTED", {"amount": 20000}))
        outcome.then(
            appends("loan-173688", NewEvent("O_SENT", {"amount": 20000})),
            schedules("loan-173688", NewEvent("O_LAPSED", {}), due=timedelta(days=14)),
        )

Works with any test runner: an ``AssertionError`` tells what is wrong. Where there is no event loop, ``asyncio.run`` it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import msgspec

from headwater.connect import open_store
from headwater.events import Event, microseconds_of
from headwater.store import EventStore
from headwater.subscriptions import Reacting, Reaction, ReactionHandler, Scheduled
from headwater.testing.calls import Call, Calls
from headwater.testing.histories import History, as_stored, encoded, shown
from headwater.testing.telling import difference
from headwater.typed import Codec

__all__ = ["Appends", "Effects", "GivenStore", "Reacted", "Schedules", "appends", "given_store", "schedules"]

REACTOR = "tested"
"""The name under which handlers are run: ids of what they append are made from it."""


class Appends(msgspec.Struct, frozen=True):
    """Events that are appended to a stream."""

    stream: str | None
    events: tuple[object, ...]


class Schedules(msgspec.Struct, frozen=True):
    """Events that are to be appended later."""

    stream: str | None
    events: tuple[object, ...]
    due: datetime | timedelta


def appends(stream: str | None, *events: object) -> Appends:
    """These events should be appended to this stream: ``NewEvent``s, or objects of the codec's classes."""
    return Appends(stream, events)


def schedules(stream: str | None, *events: object, due: datetime | timedelta) -> Schedules:
    """These events should be appended later: at a moment, or so long after the event that came."""
    return Schedules(stream, events, due)


class Effects(msgspec.Struct, frozen=True):
    """What followed from what was given."""

    appended: list[Event]
    scheduled: list[Scheduled]
    calls: list[Call]

    def since(self, before: Effects) -> Effects:
        """Those that are new."""
        return Effects(
            self.appended[len(before.appended) :],
            [each for each in self.scheduled if each not in before.scheduled],
            self.calls[len(before.calls) :],
        )


class GivenStore(History):
    """A store in memory, what has happened in it, and the world outside."""

    def __init__(self, store: EventStore, codec: Codec | None) -> None:
        super().__init__(store, codec)
        self.calls = Calls()
        """Hand it to the code under test as its client of another service."""

    async def when(self, handler: ReactionHandler, stream: str, event: object) -> Reacted:
        """This event comes to a reactor's handler, once it is in the store."""
        told = self.told
        (came,) = await self.happened(stream, event)
        before = await self.effects()
        failure = None
        try:
            await self.deliver(handler, came)
        except Exception as error:
            failure = error
        effects = (await self.effects()).since(before)
        return Reacted(self, came, f"{told}\nwhen {shown(came, self.codec)}", effects, failure)

    async def deliver(self, handler: ReactionHandler, event: Event) -> None:
        """An event that has happened comes to the handler, whether it came before or not. Its errors pass through."""
        store = self.store
        await Reacting(store._backend, store.limits, store.scheduled, REACTOR, handler).react(event)

    async def effects(self) -> Effects:
        """All that followed until now."""
        given = {each.id for each in self.given}
        appended = [event async for event in self.store.read_all() if event.id not in given]
        return Effects(appended, [each async for each in self.store.scheduled.all()], list(self.calls.made))

    def lines(self, effects: Effects) -> list[str]:
        """The effects, one in each line: appends by stream, what was scheduled in order of time, calls."""
        came = {str(each.id): each.recorded_us for each in self.given}
        appended = sorted(effects.appended, key=lambda event: event.stream or "")
        lines = [f"append {shown(each, self.codec)}" for each in appended]
        for each in effects.scheduled:
            events = [as_stored(record, each.stream) for record in each.events]
            after = each.due_us - came.get(events[0].metadata.get("causation_id", ""), 0)
            lines += [_scheduled(shown(event, self.codec), after) for event in events]
        return lines + [str(call) for call in effects.calls]


class Reacted:
    """What an event led to. Say with one of its methods what it should have been."""

    def __init__(self, given: GivenStore, came: Event, told: str, effects: Effects, failure: Exception | None) -> None:
        self._given = given
        self._came = came
        self._told = told
        self._effects = effects
        self.failure = failure
        """What the handler raised, if anything."""
        store = given.store
        self.key = Reaction(store._backend, store.limits, store.scheduled, REACTOR, came).key
        """``reaction.key``, the idempotency key that the handler should hand over to services."""

    def then(self, *expected: Appends | Schedules | Call) -> None:
        """Exactly this follows: appends to each stream in this order, appends for later, calls in this order."""
        if self.failure is not None:
            raise AssertionError(f"{self._told}\nthe handler raised {self.failure!r}") from self.failure
        wanted = self._wanted(expected)
        found = self._given.lines(self._effects)
        if found != wanted:
            raise AssertionError(f"{self._told}\n{difference(wanted, found)}")

    def then_nothing(self) -> None:
        """Nothing follows, and the handler raises nothing."""
        self.then()

    def raised(self, error: type[Exception] = Exception, match: str = "") -> None:
        """The handler raises this error, whose text has ``match`` (a regular expression): the event comes again."""
        if self.failure is None:
            found = "\n".join(self._given.lines(self._effects)) or "nothing"
            raise AssertionError(f"{self._told}\nthe handler raised nothing; it led to\n{found}")
        if not isinstance(self.failure, error) or not re.search(match, str(self.failure)):
            wanted = f"{error.__name__}, {match!r}" if match else error.__name__
            raise AssertionError(f"{self._told}\nthe handler raised {self.failure!r}, not {wanted}") from self.failure

    def _wanted(self, expected: Sequence[Appends | Schedules | Call]) -> list[str]:
        later = sorted((each for each in expected if isinstance(each, Schedules)), key=self._after)
        appended = sorted((each for each in expected if isinstance(each, Appends)), key=lambda each: each.stream or "")
        lines = [f"append {each}" for append in appended for each in self._shown(append)]
        lines += [_scheduled(event, self._after(each)) for each in later for event in self._shown(each)]
        return lines + [str(each) for each in expected if isinstance(each, Call)]

    def _shown(self, expected: Appends | Schedules) -> list[str]:
        codec = self._given.codec
        return [shown(as_stored(encoded(each, codec), expected.stream), codec) for each in expected.events]

    def _after(self, expected: Schedules) -> int:
        """Microseconds from the event that came until it is due."""
        if isinstance(expected.due, timedelta):
            return expected.due // timedelta(microseconds=1)
        return microseconds_of(expected.due) - self._came.recorded_us


def _scheduled(event: str, after_us: int) -> str:
    return f"schedule {event} after {timedelta(microseconds=after_us)}"


@asynccontextmanager
async def given_store(*, codec: Codec | None = None) -> AsyncIterator[GivenStore]:
    """A store in memory in which nothing has happened yet.

    Arguments:
        codec: to give and expect events as objects of its classes.
    """
    async with await open_store("memory:") as store:
        yield GivenStore(store, codec)
