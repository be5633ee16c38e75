"""Deciders: a rule about one stream as three plain things, ``initial``, ``decide`` and ``evolve``.

The pattern is Jérémie Chassaing's (https://thinkbeforecoding.com/post/2021/12/17/functional-event-sourcing-decider).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import msgspec

from headwater.typed import Unknown

__all__ = ["Decider"]

C = TypeVar("C")
S = TypeVar("S")


class Decider(Generic[C, S]):
    """What a stream's events mean together, and which events a command leads to.

    Arguments:
        initial: the state before the first event; or, where states are changed in place, what makes one (a class).
        decide: ``(command, state) -> events``: objects of the codec's classes, none where nothing follows. It raises
            an exception of yours to refuse the command. It must have no other effect: it runs again after a conflict.
        evolve: ``(state, event) -> state``: must not fail, for the event has happened.
        name: of the rule, for its snapshots.
        version: of the state's shape; raise it when ``evolve`` or the state's class change, and snapshots of
            before are not used any more.
        state: the state's class, where snapshots are wanted and ``initial`` is not of that class.
    """

    def __init__(
        self,
        initial: S | Callable[[], S],
        decide: Callable[[C, S], Iterable[object]],
        evolve: Callable[[S, Any], S],
        *,
        name: str = "decider",
        version: int = 1,
        state: Any = None,
    ) -> None:
        self._initial = initial
        self._decide = decide
        self._evolve = evolve
        self._state = state
        self.name = name
        self.version = version

    def initial(self) -> S:
        """The state before the first event."""
        made: S = self._initial() if callable(self._initial) else self._initial
        return made

    def decide(self, command: C, state: S) -> list[object]:
        """The events that follow from a command in this state. Raises what the rule raises."""
        return list(self._decide(command, state))

    def evolve(self, state: S, event: Any) -> S:
        """The state after this event. What has no class here leaves it alone."""
        return state if isinstance(event, Unknown) else self._evolve(state, event)

    def fold(self, events: Iterable[Any], state: S | None = None) -> S:
        """The state after these events."""
        current = self.initial() if state is None else state
        for each in events:
            current = self.evolve(current, each)
        return current

    def dump(self, state: S) -> Any:
        """The state for a snapshot, JSON-able."""
        return msgspec.to_builtins(state)

    def restore(self, dumped: Any) -> S:
        """The state from a snapshot. Raises where it does not fit."""
        kind = self._state if self._state is not None else type(self.initial())
        restored: S = msgspec.convert(dumped, kind)
        return restored
