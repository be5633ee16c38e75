"""An event store in fifty lines of lists and dicts, written from the promises alone: what any backend must agree with.

It shares no code with the backends on purpose. It knows no positions: it learns them from the store.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

__all__ = ["Fact", "Model", "Part"]

Item = dict[str, list[str]]


class Fact(NamedTuple):
    """One event, as far as the rules look at it."""

    id: str
    stream: str | None
    version: int
    type: str
    tags: frozenset[str]


class Part(NamedTuple):
    """One stream's part of an append: expected is a version or a word; the condition is items and the facts known."""

    stream: str | None
    events: list[tuple[str, str, list[str]]]
    expected: int | str = "ANY"
    condition: tuple[list[Item], int] | None = None


class Model:
    """The log, and what hides events from the readers of a stream."""

    def __init__(self) -> None:
        self.log: list[Fact] = []
        self.hidden: dict[str, int] = {}
        self.state: dict[str, str] = {}
        self.policy: dict[str, tuple[int, int | None]] = {}

    def version(self, stream: str) -> int:
        return sum(fact.stream == stream for fact in self.log)

    def seen(self, stream: str) -> list[Fact]:
        truncate_before, max_count = self.policy.get(stream, (0, None))
        least = max(truncate_before, self.version(stream) + 1 - max_count if max_count else 0)
        return [
            f for f in self.log if f.stream == stream and f.version > self.hidden.get(stream, 0) and f.version >= least
        ]

    def matching(self, items: list[Item] | None, known: int = 0) -> list[Fact]:
        return [fact for fact in self.log[known:] if items is None or any(_fits(fact, item) for item in items)]

    def unfit(self, stream: str, expected: int | str) -> set[str]:
        """The errors with which this expectation of the stream may be refused."""
        version, state = self.version(stream), self.state.get(stream, "open")
        if state == "tombstoned":
            return {"StreamDeleted"}
        there = version > 0 and state == "open"
        fits = {"ANY": True, "NO_STREAM": not there, "STREAM_EXISTS": there}.get(str(expected), expected == version)
        return set() if fits else {"WrongExpectedVersion"}

    def append(self, parts: list[Part]) -> tuple[set[str], list[int], bool]:
        """The errors that may be raised; where none, each part's version then, and whether it was a duplicate."""
        places = {fact.id: (at, fact) for at, fact in enumerate(self.log)}
        ids = [[id for id, _, _ in part.events] for part in parts]
        if any(id in places for each in ids for id in each):
            if not all(_stored(places, part.stream, each) for part, each in zip(parts, ids, strict=True)):
                return {"DuplicateEvent"}, [], False
            return set(), [places[each[-1]][1].version for each in ids], True
        errors = {error for part in parts if part.stream for error in self.unfit(part.stream, part.expected)}
        if any(part.condition and self.matching(*part.condition) for part in parts):
            errors.add("AppendConditionFailed")
        if errors:
            return errors, [], False
        for stream, events, _, _ in parts:
            for id, kind, tags in events:
                self.log.append(Fact(id, stream, self.version(stream) + 1 if stream else 0, kind, frozenset(tags)))
            if stream:
                self.state[stream] = "open"
        return set(), [self.version(part.stream) if part.stream else 0 for part in parts], False

    def delete(self, stream: str, expected: int | str, state: str) -> set[str]:
        errors = self.unfit(stream, expected)
        if not errors and state == "deleted" and stream not in self.state:
            errors = {"WrongExpectedVersion"}
        if not errors:
            self.state[stream], self.hidden[stream] = state, self.version(stream)
        return errors


def _stored(places: dict[str, Any], stream: str | None, ids: list[str]) -> bool:
    found = [places[id] for id in ids if id in places]
    steps = itertools.pairwise(found)
    rising = all(b[0] > a[0] and (stream is None or b[1].version == a[1].version + 1) for a, b in steps)
    return len(found) == len(ids) and rising and all(fact.stream == stream for _, fact in found)


def _fits(fact: Fact, item: Item) -> bool:
    category = fact.stream.split("-")[0] if fact.stream else None
    one_of = (("types", fact.type), ("streams", fact.stream), ("categories", category))
    return all(value in item[name] for name, value in one_of if item.get(name)) and fact.tags >= set(
        item.get("tags", ())
    )
