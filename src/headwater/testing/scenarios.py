"""Given these events, when this command comes, then these events follow: tests of rules, without a store.

``given(LOAN, Requested("112", 20000)).when(Approve("anna")).then(Approved("anna"))``. Works with any test runner: an
``AssertionError`` tells what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from headwater.deciders import Aggregate, Decider, Fact
from headwater.deciders.aggregate import AggregateDecider
from headwater.projections import Fold
from headwater.testing.histories import as_stored
from headwater.testing.telling import difference, listed
from headwater.typed import Codec

__all__ = ["FactsScenario", "Outcome", "Scenario", "given", "given_facts", "given_fold"]


class Outcome:
    """What a command led to: events, or a refusal. Say with one of its methods what it should have been."""

    def __init__(self, told: str, events: list[object] | None, refusal: Exception | None) -> None:
        self._told = told
        self.events = events
        """None where the command was refused."""
        self.refusal = refusal

    def then(self, *expected: object) -> None:
        """Exactly these events follow, in this order."""
        if self.refusal is not None:
            raise AssertionError(f"{self._told}\nit was refused: {self.refusal!r}") from self.refusal
        if self.events != list(expected):
            raise AssertionError(f"{self._told}\n{_difference(expected, self.events or ())}")

    def then_nothing(self) -> None:
        """No event follows, and the command is not refused."""
        self.then()

    def refused(self, error: type[Exception] = Exception, match: str = "") -> None:
        """The rule raises this error, whose text has ``match`` (a regular expression)."""
        if self.refusal is None:
            raise AssertionError(f"{self._told}\nit was not refused; it led to {listed(self.events or [])}")
        if not isinstance(self.refusal, error) or not re.search(match, str(self.refusal)):
            wanted = f"{error.__name__}, {match!r}" if match else error.__name__
            raise AssertionError(f"{self._told}\nit was refused by {self.refusal!r}, not by {wanted}") from self.refusal


class Scenario:
    """A state that is reached by events."""

    def __init__(self, rule: Decider[Any, Any], events: Iterable[object]) -> None:
        self._rule = rule
        self._events = list(events)

    @property
    def state(self) -> Any:
        """The state after the events."""
        return self._rule.fold(self._events)

    def when(self, command: Any) -> Outcome:
        """The command (for an aggregate, a function of it) comes in this state."""
        return _decided(self._events, command, lambda: self._rule.decide(command, self.state))

    def then_state(self, expected: Any) -> None:
        """The events lead to this state."""
        if self.state != expected:
            raise AssertionError(f"given {listed(self._events)}\n{_difference([expected], [self.state])}")


def given(rule: Decider[Any, Any] | type[Aggregate], *events: object) -> Scenario:
    """A decider or an aggregate, and what has happened to it."""
    return Scenario(rule if isinstance(rule, Decider) else AggregateDecider(rule), events)


class FactsScenario:
    """What has happened, for decisions over queries."""

    def __init__(self, codec: Codec, events: Iterable[object]) -> None:
        self._codec = codec
        self._events = list(events)

    def when(self, facts: Mapping[str, Fact[Any]], decide: Callable[[Any], Iterable[object]]) -> Outcome:
        """This is decided on these facts."""
        states = {name: self._state(fact) for name, fact in facts.items()}
        return _decided(self._events, f"a decision on {states}", lambda: list(decide(SimpleNamespace(**states))))

    def _state(self, fact: Fact[Any]) -> Any:
        stored = [
            (as_stored(self._codec.encode(body), None, number), body)
            for number, body in enumerate(self._events, start=1)
        ]
        matching = [body for event, body in stored if fact.query.matches(event)]
        state = fact.initial
        for body in matching[-1:] if fact.last else matching:
            state = fact.evolve(state, body)
        return state


def given_facts(codec: Codec, *events: object) -> FactsScenario:
    """What has happened anywhere, for a ``Boundary``'s decisions: with the tags that the events' classes declare."""
    return FactsScenario(codec, events)


def given_fold(fold: Fold[Any], codec: Codec, *events: object) -> Any:
    """The value that a ``Fold`` makes of these events."""
    state = fold.initial()
    for number, body in enumerate(events, start=1):
        state = fold.apply(as_stored(codec.encode(body), None, number), state)
    return state


def _decided(events: list[object], command: Any, decide: Callable[[], list[object]]) -> Outcome:
    told = f"given {listed(events)}\nwhen {command!r}"
    try:
        return Outcome(told, decide(), None)
    except Exception as refusal:
        return Outcome(told, None, refusal)


def _difference(expected: Sequence[object], found: Sequence[object]) -> str:
    return difference([repr(each) for each in expected], [repr(each) for each in found])
