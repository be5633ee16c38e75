"""A Hypothesis state machine: whatever is done to a store, in whatever order, it agrees with the model."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from headwater import sync
from headwater.backend import Appended
from headwater.errors import AppendRefused
from headwater.events import Event, NewEvent
from headwater.queries import AppendCondition, Expected, ExpectedVersion, Query, QueryItem
from headwater.store import Append
from headwater.testing.model import Fact, Item, Model, Part

__all__ = ["check_against_model"]

STREAMS = ["loan-1", "loan-2", "offer-1", "offer"]
TYPES = ["A_SUBMITTED", "A_ACCEPTED", "O_CREATED"]
TAGS = ["applicant:112", "officer:10862", "channel:web"]

_streams = st.sampled_from(STREAMS)
_expected = st.one_of(
    st.just("ANY"), st.just("current"), st.sampled_from(["NO_STREAM", "STREAM_EXISTS"]), st.integers(0, 6)
)
_events = st.lists(
    st.tuples(st.sampled_from(TYPES), st.lists(st.sampled_from(TAGS), max_size=3)), min_size=1, max_size=3
)
_some = {"max_size": 2, "unique": True}
_items = st.lists(
    st.fixed_dictionaries(
        {
            "types": st.lists(st.sampled_from(TYPES), **_some),  # type: ignore[arg-type]  # the keywords of lists
            "tags": st.lists(st.sampled_from(TAGS), **_some),  # type: ignore[arg-type]
            "streams": st.lists(st.sampled_from(STREAMS), **_some),  # type: ignore[arg-type]
            "categories": st.lists(st.sampled_from(["loan", "offer"]), **_some),  # type: ignore[arg-type]
        }
    ).filter(lambda item: any(item.values())),
    min_size=1,
    max_size=3,
)
_part = st.fixed_dictionaries({"stream": st.none() | _streams, "events": _events, "expected": _expected})
_place = st.integers(0, 30)
_limit = st.none() | st.integers(0, 5)
_condition = st.none() | st.tuples(_items, _place)


def check_against_model(store: sync.EventStore, *, examples: int, steps: int = 40, shrink: bool = True) -> None:
    """Try that many random histories on the store, each with names of its own, against the model.

    A history that fails is made as short as possible, unless ``shrink`` is False: that may take minutes.
    """
    numbers = itertools.count(1)
    settings = hypothesis.settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if shrink else [])],
        suppress_health_check=list(hypothesis.HealthCheck),
    )

    class History(_Machine):
        def __init__(self) -> None:
            super().__init__(store, f"h{next(numbers)}")

    run_state_machine_as_test(History, settings=settings)


class _Machine(RuleBasedStateMachine):
    """One history. All names begin with a prefix, so that histories on one store don't meet."""

    def __init__(self, store: sync.EventStore, prefix: str) -> None:
        super().__init__()
        self.store = store
        self.can = store.capabilities
        self.prefix = prefix
        self.model = Model()
        self.positions: list[int] = []
        self.sent: list[list[Part]] = []

    @initialize()
    def begin(self) -> None:
        self.start = self.store.head()

    def named(self, name: str) -> str:
        return self.prefix + name

    def part(self, stream: str | None, events: list[tuple[str, list[str]]], expected: int | str) -> Part:
        """What was drawn, with this history's names and ids, and the present version where that is expected."""
        name = self.named(stream) if stream else None
        if name is None:
            expected = "ANY"
            events = [(kind, tags or TAGS[:1]) for kind, tags in events]
        elif expected == "current":
            expected = self.model.version(name)
        given = [(str(uuid.uuid4()), self.named(kind), list(map(self.named, tags))) for kind, tags in events]
        return Part(name, given, expected)

    def items(self, items: list[Item]) -> list[Item]:
        return [{name: list(map(self.named, values)) for name, values in item.items()} for item in items]

    def position(self, known: int) -> int:
        """The position of the log up to which so many events of this history are known."""
        return self.positions[min(known, len(self.positions)) - 1] if known and self.positions else self.start

    def send(self, parts: list[Part]) -> None:
        errors, versions, duplicate = self.model.append(parts)
        appends = [self.append_of(part) for part in parts]
        results: list[Appended] = []
        refused = self.refused(lambda: results.extend(self.store.append_all(appends)))
        assert refused in (errors or {""}), f"{refused or 'written'}, the model says {errors or 'written'}"
        if refused:
            return
        assert [(each.version, each.duplicate) for each in results] == [(version, duplicate) for version in versions]
        if not duplicate:
            self.sent.append(parts)
            new = [event.position for event in self.store.read_all(after=self.position(len(self.positions)))]
            self.positions += new
            assert len(self.positions) == len(self.model.log)
        for part, result in zip(parts, results, strict=True):
            last = next(at for at, fact in enumerate(self.model.log) if fact.id == part.events[-1][0])
            assert result.position == self.positions[last]

    def append_of(self, part: Part) -> Append:
        events = [NewEvent(kind, {}, id=id, tags=tags) for id, kind, tags in part.events]
        condition = None
        if part.condition:
            condition = AppendCondition(_query(part.condition[0]), self.after(part.condition[1]))
        return Append(part.stream, events, _expectation(part.expected), condition)

    def after(self, known: int) -> int:
        """0 where nothing is known: the names alone keep histories apart."""
        return self.position(known) if known else 0

    @rule(part=_part, condition=_condition)
    def append(self, part: dict[str, Any], condition: tuple[list[Item], int] | None) -> None:
        made = self.part(**part)
        if condition and self.can.append_condition:
            items, known = condition
            made = made._replace(condition=(self.items(items), min(known, len(self.positions))))
        self.send([made])

    @precondition(lambda self: self.can.atomic_streams)
    @rule(
        parts=st.lists(_part, min_size=2, max_size=3, unique_by=lambda part: str(part["stream"])), condition=_condition
    )
    def append_all(self, parts: list[dict[str, Any]], condition: tuple[list[Item], int] | None) -> None:
        made = [self.part(**part) for part in parts]
        if condition and self.can.append_condition:
            items, known = condition
            made[-1] = made[-1]._replace(condition=(self.items(items), min(known, len(self.positions))))
        self.send(made)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), change=st.sampled_from(["none", "first", "last", "reversed", "more", "moved", "expects"]))
    def retry(self, data: st.DataObject, change: str) -> None:
        parts = data.draw(st.sampled_from(self.sent))
        first = parts[0]
        changed = {
            "none": first,
            "first": first._replace(events=first.events[:1]),
            "last": first._replace(events=first.events[-2:]),
            "reversed": first._replace(events=first.events[::-1]),
            "more": first._replace(events=[*first.events, (str(uuid.uuid4()), "more", ["more"])]),
            "moved": first._replace(stream=self.named("moved"), expected="ANY"),
            "expects": first._replace(expected=99 if first.stream else "ANY"),
        }[change]
        self.send([changed, *parts[1:]])

    @precondition(lambda self: self.can.stream_policies)
    @rule(stream=_streams, expected=_expected, state=st.sampled_from(["deleted", "deleted", "tombstoned"]))
    def delete(self, stream: str, expected: int | str, state: str) -> None:
        name = self.named(stream)
        expected = self.model.version(name) if expected == "current" else expected
        remove = self.store.delete_stream if state == "deleted" else self.store.tombstone_stream
        errors = self.model.delete(name, expected, state)
        assert self.refused(remove, name, expected=_expectation(expected)) in (errors or {""})

    @precondition(lambda self: self.can.stream_policies)
    @rule(stream=_streams, truncate_before=st.integers(0, 8), max_count=st.none() | st.integers(1, 4))
    def set_policy(self, stream: str, truncate_before: int, max_count: int | None) -> None:
        name = self.named(stream)
        state = self.model.state.get(name)
        errors = {"WrongExpectedVersion"} if state is None else {"StreamDeleted"} if state == "tombstoned" else set()
        policy = {"truncate_before": truncate_before, "max_count": max_count}
        assert self.refused(self.store.set_policy, name, **policy) in (errors or {""})
        if not errors:
            self.model.policy[name] = (truncate_before, max_count)

    def refused(self, call: Any, *given: Any, **named: Any) -> str:
        """The name of the error with which the call was refused; empty where it was not."""
        try:
            call(*given, **named)
        except AppendRefused as refused:
            return type(refused).__name__
        return ""

    @rule(stream=_streams, after=st.integers(0, 6), before=st.none() | _place, limit=_limit, backwards=st.booleans())
    def read(self, stream: str, after: int, before: int | None, limit: int | None, backwards: bool) -> None:
        backwards = backwards and self.can.read_backwards
        facts = [fact for fact in self.model.seen(self.named(stream)) if after < fact.version]
        facts = [fact for fact in facts if before is None or fact.version < before]
        events = self.store.read(self.named(stream), after=after, before=before, limit=limit, backwards=backwards)
        assert list(map(_fact, events)) == _part_of(facts, limit, backwards)

    @rule(items=st.none() | _items, known=_place, before=st.none() | _place, limit=_limit, backwards=st.booleans())
    def read_all(
        self, items: list[Item] | None, known: int, before: int | None, limit: int | None, backwards: bool
    ) -> None:
        backwards = backwards and self.can.read_backwards
        known = min(known, len(self.positions))
        until = len(self.positions) if before is None else min(before, len(self.positions))
        after = self.position(known) if items is None else self.after(known)
        end = None if until == len(self.positions) else self.positions[until]
        given = self.items(items) if items else None
        facts = [fact for fact in self.model.matching(given, known) if fact in self.model.log[:until]]
        query = _query(given) if given else None
        events = self.store.read_all(after=after, before=end, query=query, limit=limit, backwards=backwards)
        assert list(map(_fact, events)) == _part_of(facts, limit, backwards)

    @rule()
    def look(self) -> None:
        """What the store tells of its streams."""
        told = {info.name: info for info in self.store.streams(prefix=self.prefix + "l")}
        told |= {info.name: info for info in self.store.streams(category=self.named("offer"))}
        for name in map(self.named, STREAMS):
            info = self.store.stream(name)
            assert told.get(name) == info
            assert (info.state if info else None) == self.model.state.get(name)
            if info:
                assert info.version == self.model.version(name)
                seen = self.model.seen(name)
                assert info.first_version == (seen[0].version if seen else info.version + 1)

    def teardown(self) -> None:
        events = list(self.store.read_all(after=self.start))
        assert list(map(_fact, events)) == self.model.log
        assert [event.position for event in events] == self.positions == sorted(set(self.positions))
        for event in events[:3]:
            assert self.store.event(event.id) == event


def _query(items: list[Item]) -> Query:
    return Query([QueryItem(**item) for item in items])


def _expectation(expected: int | str) -> ExpectedVersion:
    return expected if isinstance(expected, int) else Expected[expected]


def _fact(event: Event) -> Fact:
    return Fact(str(event.id), event.stream, event.version, event.type, frozenset(event.tags))


def _part_of(facts: list[Fact], limit: int | None, backwards: bool) -> list[Fact]:
    return (facts[::-1] if backwards else facts)[:limit]
