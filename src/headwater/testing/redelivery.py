"""Redelivery tests: whether events that come again, or a process that dies half-way, change what is brought about.

Each check first delivers every event once, and keeps the effect after each of them. Then it does so in rounds: events
come twice, the last few come once more, processes die; when and where is drawn from a seed, so it is the same each
time. An ``AssertionError`` names the event, the deliveries, and the first difference. Works with any test runner; where
there is no event loop, ``asyncio.run`` it.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable
from typing import Any

from headwater.connect import open_store
from headwater.events import Event, NewEvent
from headwater.projections import Projection, Projector, View
from headwater.queries import Query
from headwater.subscriptions import Handler, Reaction, ReactionHandler
from headwater.testing.calls import Call
from headwater.testing.dying import Died, Mortal
from headwater.testing.histories import History, encoded, shown
from headwater.testing.projecting import GivenProjection, given_projection
from headwater.testing.reacting import REACTOR, Effects, GivenStore, given_store
from headwater.testing.telling import first_difference, lines_of
from headwater.typed import Codec

__all__ = ["check_handler", "check_projection", "check_reactor"]

Happened = tuple[str, object]
"""A stream, and what happens in it: a ``NewEvent``, or an object of one of the codec's classes."""

TWICE, SUFFIX, DEATH, WAIT = 0.4, 0.3, 0.5, 0.4
"""How likely it is, at each delivery, that the event or the last few come again; that the process dies; and, for a
projection, that the event waits to be handled together with the next one."""


async def check_handler(
    make: Callable[[], tuple[Handler, Callable[[], Any]]],
    *happened: Happened,
    query: Query | None = None,
    codec: Codec | None = None,
    rounds: int = 20,
    seed: int = 0,
) -> None:
    """A consumer's handler of single events brings about the same, however often the events come.

    Arguments:
        make: gives a new handler, and a function (or coroutine function) that tells what it has brought about: what
            is in your table or your service's stand-in, as something that can be compared and shown.
        happened: the events, in order. ``query``: which of them are delivered.
        codec: to give events as objects of its classes.
        rounds: how many courses of events to try, beginning with that of ``seed``.
    """

    async def play(round: _Round) -> None:
        handler, tell = make()

        async def effect() -> list[str]:
            told = tell()
            return lines_of(await told if isawaitable(told) else told)

        async def deliver(event: Event) -> None:
            waiting = handler(event)
            if isawaitable(waiting):
                await waiting

        async with await open_store("memory:") as store:
            await round.play(History(store, codec), deliver, effect)

    await _check(play, happened, query, codec, rounds, seed)


async def check_reactor(
    make: Callable[[GivenStore], ReactionHandler],
    *happened: Happened,
    query: Query | None = None,
    codec: Codec | None = None,
    rounds: int = 20,
    seed: int = 0,
) -> None:
    """A reactor or a process manager brings about the same, however often events come and wherever it dies.

    What it appends, schedules and calls is compared. Of calls that carry ``reaction.key``, those that are the same
    count once: the service knows them again. Its process dies after any of these steps, and the event comes again.

    Arguments:
        make: gives a new handler for a store (``given.store``) and the world outside (``given.calls``); asked again
            after each death, so what it keeps in memory is gone then.
        happened: the events, in order. ``query``: which of them are delivered, as the reactor's; the others are only
            there.
        codec: to give events as objects of its classes.
        rounds: how many courses of events to try, beginning with that of ``seed``.
    """

    async def play(round: _Round) -> None:
        async with given_store(codec=codec) as given:
            mortal = Mortal(given)
            handler = make(given)

            async def deliver(event: Event) -> None:
                nonlocal handler
                mortal.steps_left = round.steps_to_live()
                try:
                    await given.deliver(handler, event)
                except Died:
                    round.note("died")
                    handler = make(given)
                    await given.deliver(handler, event)
                finally:
                    mortal.steps_left = None

            async def effect() -> list[str]:
                return given.lines(_known_again(given, await given.effects()))

            await round.play(given, deliver, effect)

    await _check(play, happened, query, codec, rounds, seed)


def _known_again(given: GivenStore, effects: Effects) -> Effects:
    """The effects, as services see them that know the keys of calls."""
    store = given.store
    keys = [Reaction(store._backend, store.limits, store.scheduled, REACTOR, each).key for each in given.given]
    calls: list[Call] = []
    for call in effects.calls:
        if call not in calls or not any(key in str(call) for key in keys):
            calls.append(call)
    return Effects(effects.appended, effects.scheduled, calls)


async def check_projection(
    make: Callable[[], Projection],
    *happened: Happened,
    codec: Codec | None = None,
    rounds: int = 20,
    seed: int = 0,
) -> None:
    """A projection's rows are the same, however its events are batched, repeated after a roll-back, or taken over.

    Finds handlers that rely on more than the rows and the event: on attributes, on the clock, on chance.

    Arguments:
        make: gives a new projection: its class.
        happened: the events, in order.
        codec: to give events as objects of its classes.
        rounds: how many courses of events to try, beginning with that of ``seed``.
    """

    async def play(round: _Round) -> None:
        async with given_projection(make(), codec=codec) as given:

            async def deliver(event: Event) -> None:
                if round.steps_to_live() is not None:
                    round.note("rolled back")
                    await _interrupted(given, event)
                    if round.steps_to_live() is not None:  # it was not only the transaction, but the process
                        round.note("and died")
                        given.projector = Projector(given.store, make(), into=given.target)

            async def effect() -> list[str]:
                return [f"{table}: {row}" for table in given.tables for row in await given.rows(table)]

            await round.play(given, deliver, effect, batches=True)

    await _check(play, happened, None, codec, rounds, seed)


class _RolledBack(Exception):
    pass


async def _interrupted(given: GivenProjection, event: Event) -> None:
    """Handle what came up to this event, in a transaction that is rolled back."""
    projection: Any = given.projector.projection
    apply = projection.apply

    def interrupted(each: Event, view: View) -> None:
        apply(each, view)
        if each.position == event.position:
            raise _RolledBack

    projection.apply = interrupted
    try:
        await given.projector.catch_up()
    except _RolledBack:
        pass
    finally:
        del projection.apply


async def _check(
    play: Callable[[_Round], Awaitable[None]],
    happened: Sequence[Happened],
    query: Query | None,
    codec: Codec | None,
    rounds: int,
    seed: int,
) -> None:
    """Play once without disturbance, then with."""
    events = [(stream, encoded(event, codec)) for stream, event in happened]
    once = _Round(events, query, None, seed)
    await play(once)
    if not once.effects:
        raise AssertionError("no event was delivered: give some, and a query that finds some of them")
    for number in range(seed, seed + rounds):
        await play(_Round(events, query, once.effects, number))


class _Round:
    """One course of events: each delivered once, or disturbed as its seed has it."""

    def __init__(
        self,
        happened: Sequence[tuple[str, NewEvent]],
        query: Query | None,
        expected: Sequence[list[str]] | None,
        seed: int,
    ) -> None:
        self._happened = happened
        self._query = query
        self._expected = expected
        self._seed = seed
        self._choose = random.Random(seed)
        self._events: list[Event] = []
        self._order: list[str] = []
        self.effects: list[list[str]] = []
        """After each event, where it is delivered once."""

    def steps_to_live(self) -> int | None:
        """After how many steps the process that handles the next event dies; None: it does not."""
        if self._expected is None or self._choose.random() > DEATH:
            return None
        return self._choose.randint(1, 3)

    def note(self, what: str) -> None:
        """What became of the last delivery."""
        self._order[-1] += f" {what}"

    async def play(
        self,
        history: History,
        deliver: Callable[[Event], Awaitable[None]],
        effect: Callable[[], Awaitable[list[str]]],
        *,
        batches: bool = False,
    ) -> None:
        """Let everything happen, and compare the effect after each event (or some) with that of once."""
        for stream, event in self._happened:
            (came,) = await history.happened(stream, event)
            if self._query is not None and not self._query.matches(came):
                continue
            self._events.append(came)
            for number in [len(self._events), *self._again()]:
                await self._deliver(number, deliver, history)
            if batches and self._waits():
                continue
            found = await effect()
            if self._expected is None:
                self.effects.append(found)
            elif found != (expected := self._expected[len(self._events) - 1]):
                raise AssertionError(self._told(history, f"other effects\n{first_difference(expected, found)}"))

    def _waits(self) -> bool:
        """Whether the event is handled together with the next one."""
        more = len(self._events) < len(self._happened)
        return more and self._expected is not None and self._choose.random() < WAIT

    def _again(self) -> list[int]:
        """Which events come again, by number: the last one, or the last few."""
        if self._expected is None:
            return []
        last = len(self._events)
        again = [last] if self._choose.random() < TWICE else []
        if self._choose.random() < SUFFIX:
            again += range(self._choose.randint(1, last), last + 1)
        return again

    async def _deliver(self, number: int, deliver: Callable[[Event], Awaitable[None]], history: History) -> None:
        self._order.append(str(number))
        try:
            await deliver(self._events[number - 1])
        except Exception as error:
            raise AssertionError(self._told(history, f"raised {error!r}")) from error

    def _told(self, history: History, what: str) -> str:
        listed = [f"{number} {shown(event, history.codec)}" for number, event in enumerate(self._events, start=1)]
        how = "delivered once" if self._expected is None else f"delivered again (seed {self._seed}), and not only once"
        order = f"deliveries: {', '.join(self._order)}"
        return "\n".join([f"{how}: {what.splitlines()[0]}", *listed, order, *what.splitlines()[1:]])
