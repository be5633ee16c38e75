"""What a writer believes: expected versions, queries over the log, and append conditions.

Queries and conditions follow the specification of dynamic consistency boundaries (https://dcb.events/specification/):
items are OR-ed; an event matches an item when it has one of its types and all of its tags. Headwater adds streams
and categories to an item (one of each, where given).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

import msgspec

from headwater.errors import InvalidQuery
from headwater.events import Event, category_of

__all__ = [
    "ANY",
    "NO_STREAM",
    "STREAM_EXISTS",
    "AppendCondition",
    "Branch",
    "Expected",
    "ExpectedVersion",
    "Query",
    "QueryItem",
]


class Expected(enum.Enum):
    """What a writer may expect of a stream, besides an exact version."""

    ANY = "ANY"
    """Whatever is there."""
    NO_STREAM = "NO_STREAM"
    """No events are there: the stream is new, or was deleted."""
    STREAM_EXISTS = "STREAM_EXISTS"
    """Some event is there."""

    def __repr__(self) -> str:
        return self.value

    __str__ = __repr__


ANY: Final = Expected.ANY
NO_STREAM: Final = Expected.NO_STREAM
STREAM_EXISTS: Final = Expected.STREAM_EXISTS

ExpectedVersion = Expected | int
"""``ANY``, ``NO_STREAM``, ``STREAM_EXISTS`` or the exact version (0 = no stream)."""


def _texts(name: str, values: Iterable[str]) -> tuple[str, ...]:
    if isinstance(values, str):
        raise InvalidQuery(f"{name} is the one text {values!r}", f"Give a list of texts: {name}=[{values!r}].")
    texts = tuple(dict.fromkeys(values))
    if not all(isinstance(each, str) for each in texts):
        raise InvalidQuery(f"{name} holds something other than texts: {texts!r}", "Give texts only.")
    return texts


class QueryItem:
    """One alternative: one of ``types``, in one of ``streams``, in one of ``categories``, with **all** ``tags``.

    What is left out does not restrict. At least one must be given.
    """

    __slots__ = ("categories", "streams", "tags", "types")

    def __init__(
        self,
        types: Iterable[str] = (),
        tags: Iterable[str] = (),
        categories: Iterable[str] = (),
        streams: Iterable[str] = (),
    ) -> None:
        self.types = _texts("types", types)
        self.tags = _texts("tags", tags)
        self.categories = _texts("categories", categories)
        self.streams = _texts("streams", streams)
        if not (self.types or self.tags or self.categories or self.streams):
            raise InvalidQuery(
                "a query item names no type, tag, category or stream",
                "Name at least one; for every event, use Query.all().",
            )

    def matches(self, event: Event) -> bool:
        """Whether the event fits this item."""
        return (
            (not self.types or event.type in self.types)
            and (not self.streams or event.stream in self.streams)
            and (not self.categories or (event.stream is not None and category_of(event.stream) in self.categories))
            and all(tag in event.tags for tag in self.tags)
        )

    def __repr__(self) -> str:
        given = ((name, getattr(self, name)) for name in ("types", "tags", "categories", "streams"))
        return f"QueryItem({', '.join(f'{name}={list(values)!r}' for name, values in given if values)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QueryItem) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


class Branch(msgspec.Struct, frozen=True):
    """A part of a query with one leading key, so that an index can deliver its events in order of position.

    Exactly one of ``tag``, ``stream``, ``type``, ``category`` leads (none: the whole log); the rest filters.
    """

    tag: str | None = None
    stream: str | None = None
    type: str | None = None
    category: str | None = None
    with_types: tuple[str, ...] = ()
    with_tags: tuple[str, ...] = ()
    with_streams: tuple[str, ...] = ()
    with_categories: tuple[str, ...] = ()


class Query:
    """Which events: those that fit at least one of the items. ``Query.all()`` fits every event.

    >>> Query(items=[QueryItem(types=["O_ACCEPTED"], tags=["applicant:112"])])
    """

    __slots__ = ("items",)

    def __init__(self, items: Iterable[QueryItem]) -> None:
        self.items = tuple(items)
        if not self.items:
            raise InvalidQuery(
                "a query without items", "Give at least one QueryItem; for every event, use Query.all()."
            )

    @classmethod
    def all(cls) -> Query:
        """The query that every event matches."""
        query = cls.__new__(cls)
        query.items = ()
        return query

    def matches(self, event: Event) -> bool:
        """Whether the event fits this query."""
        return not self.items or any(item.matches(event) for item in self.items)

    def branches(self) -> list[Branch]:
        """The same query as a union of parts that each have one leading key (see ``Branch``)."""
        return [branch for item in self.items for branch in _branches_of(item)] or [Branch()]

    def __repr__(self) -> str:
        return f"Query(items={list(self.items)!r})" if self.items else "Query.all()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Query) and self.items == other.items

    def __hash__(self) -> int:
        return hash(self.items)


def _branches_of(item: QueryItem) -> list[Branch]:
    """Tags lead where there are any, as they select most; then streams, types, categories."""
    if item.tags:
        return [
            Branch(
                tag=item.tags[0],
                with_tags=item.tags[1:],
                with_types=item.types,
                with_streams=item.streams,
                with_categories=item.categories,
            )
        ]
    if item.streams:
        return [
            Branch(stream=stream, with_types=item.types)
            for stream in item.streams
            if not item.categories or category_of(stream) in item.categories
        ] or [Branch(stream="", with_types=item.types)]  # no stream is in those categories: matches nothing
    if item.types:
        return [Branch(type=kind, with_categories=item.categories) for kind in item.types]
    return [Branch(category=category) for category in item.categories]


class AppendCondition:
    """Append only if no event that matches ``fail_if_match`` is stored at a position higher than ``after``.

    ``after`` is the position up to which the writer has seen the log: events at or below it are ignored. 0, the
    default, ignores nothing, so any match refuses the append.
    """

    __slots__ = ("after", "fail_if_match")

    def __init__(self, fail_if_match: Query, after: int = 0) -> None:
        if not isinstance(fail_if_match, Query):
            raise InvalidQuery(f"fail_if_match is {fail_if_match!r}", "Give a Query.")
        if not isinstance(after, int) or isinstance(after, bool) or after < 0:
            raise InvalidQuery(f"after is {after!r}", "Give a position: 0 or a higher number.")
        self.fail_if_match = fail_if_match
        self.after = after

    def __repr__(self) -> str:
        return f"AppendCondition(fail_if_match={self.fail_if_match!r}, after={self.after})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AppendCondition) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))
