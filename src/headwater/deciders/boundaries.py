"""Decisions over whatever a query finds: consistency boundaries that are as large as the decision, no larger.

The pattern is that of dynamic consistency boundaries (https://dcb.events): small projections are composed into the
model that a decision needs, and what was decided is appended on condition that nothing new matches their queries.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

import msgspec

from headwater.deciders.commands import CONFLICTS, Executed, append_surely, caused_by, encoded, executed, settled
from headwater.errors import InvalidQuery
from headwater.events import Event
from headwater.queries import AppendCondition, Query, QueryItem
from headwater.store import EventStore
from headwater.subscriptions import Retry
from headwater.typed import Codec, Unknown, type_name

__all__ = ["Boundary", "DecisionModel", "Fact"]

S = TypeVar("S")


class Fact(Generic[S]):
    """A small projection of the events that a query finds: one thing that a decision has to know.

    ``Fact(0, lambda count, event: count + 1, types=[StudentSubscribed], tags=["course:c1"])``.

    Arguments:
        initial: before the first event.
        evolve: ``(state, event) -> state``, for objects of the codec's classes.
        types: classes of events (or names of types); any of them.
        tags: all of them.
        query: instead of ``types`` and ``tags``, where the events are found otherwise.
        last: only the last matching event counts; nothing earlier is read.
    """

    def __init__(
        self,
        initial: S,
        evolve: Callable[[S, Any], S],
        *,
        types: Iterable[type | str] = (),
        tags: Iterable[str] = (),
        query: Query | None = None,
        last: bool = False,
    ) -> None:
        self.initial = initial
        self.evolve = evolve
        self.last = last
        names = [each if isinstance(each, str) else type_name(each) for each in types]
        tags = list(tags)
        if (query is None) == (not names and not tags):
            raise InvalidQuery("a fact has no query, or two", "Give types and tags, or a query.")
        self.query = Query([QueryItem(types=names, tags=tags)]) if query is None else query


class DecisionModel(msgspec.Struct, frozen=True):
    """What a decision has to know, and the condition on which that is still so."""

    facts: SimpleNamespace
    """The state of each fact, by name."""
    condition: AppendCondition | None
    """Nothing that matches the facts' queries was appended after they were read; None where there are no facts."""


class Boundary:
    """Decides on facts from anywhere in the log, and appends what was decided if they still hold.

    Needs ``capabilities.append_condition``. Arguments as of ``Repository``.
    """

    def __init__(self, store: EventStore, codec: Codec, *, retry: Retry = CONFLICTS) -> None:
        self._store = store
        self._codec = codec
        self._retry = retry

    async def model(self, facts: Mapping[str, Fact[Any]]) -> DecisionModel:
        """Read what the facts' queries find, once for all of them, and fold it."""
        if not facts:
            return DecisionModel(SimpleNamespace(), None)
        after = await self._store.head()
        states = {name: fact.initial for name, fact in facts.items()}
        whole = {name: fact for name, fact in facts.items() if not fact.last}
        if whole:
            query = Query([item for fact in whole.values() for item in fact.query.items])
            async with aclosing(self._store.read_all(query=query)) as events:
                async for event in events:
                    after = max(after, event.position)
                    self._fold(event, whole, states)
        for name, fact in facts.items():
            if fact.last:
                async with aclosing(self._store.read_all(query=fact.query, backwards=True, limit=1)) as events:
                    async for event in events:
                        self._fold(event, {name: fact}, states)
        matching = Query([item for fact in facts.values() for item in fact.query.items])
        return DecisionModel(SimpleNamespace(**states), AppendCondition(matching, after))

    def _fold(self, event: Event, facts: Mapping[str, Fact[Any]], states: dict[str, Any]) -> None:
        body = self._codec.decode(event)
        if isinstance(body, Unknown):
            return
        for name, fact in facts.items():
            if fact.query.matches(event):
                states[name] = fact.evolve(states[name], body)

    async def execute(
        self,
        facts: Mapping[str, Fact[Any]],
        decide: Callable[[Any], Iterable[object]],
        *,
        stream: str | None = None,
        id: uuid.UUID | str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        occurred_at: datetime | None = None,
    ) -> Executed:
        """Read the facts, decide, and append what was decided on condition that the facts still hold.

        Where something new matches the facts' queries meanwhile, all of it is done again. Exceptions of ``decide``
        pass through.

        Arguments:
            facts: what the decision has to know, by name.
            decide: gets the states of the facts as attributes (``model.seats``), gives the events, or raises. It runs
                again after a conflict.
            stream: where to append them; None: to no stream, so the events must carry tags.
            id: of the command; the same id again gives the first result and decides nothing.
            metadata: of the events. ``tags``: of the events, beside those that their classes declare.
            occurred_at: when it happened in the world, where that differs from when it is recorded.

        Raises ``AppendConditionFailed`` where there was a conflict each time, and as ``EventStore.append`` does.
        """
        name = None if id is None else str(id)
        tags = tuple(tags)

        async def once() -> Executed | None:
            model = await self.model(facts)  # before the look-up: the command may be executed meanwhile
            if name is not None and (before := await executed(self._store, self._codec, stream, name)) is not None:
                return before
            decided = list(decide(model.facts))
            if not decided:
                return Executed((), 0, 0)
            new = encoded(self._codec, stream, decided, name, metadata, tags, occurred_at)
            with caused_by(name):
                done, ours = await append_surely(
                    partial(self._store.append, stream, new, condition=model.condition), self._retry
                )
            return Executed(decided, done.version, done.position) if ours else None

        return await settled(once, self._retry, named=name is not None)
