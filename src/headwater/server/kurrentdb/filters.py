"""Filters on ``$all``: by expression or prefixes, on the event's type or its stream.

Expressions come from anybody who may connect, so each match has a time limit. What an index of the store can answer
becomes a query, and the filter looks at what that finds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import msgspec
import regex

from headwater.events import Event
from headwater.queries import Query, QueryItem
from headwater.server.kurrentdb.recorded import shown_stream
from headwater.server.kurrentdb.refusals import Refused, invalid
from headwater.server.kurrentdb.virtual import INDEX, index_query

__all__ = ["Filter", "Source", "everything", "filter_of"]

EXPRESSION_MOST = 4_096
PREFIXES_MOST = 1_000
MATCH_SECONDS = 0.05
WINDOW = 32
"""Events between checkpoints where the client says nothing, before its multiplier."""

_LITERAL = re.compile(r"\^(?P<type>[A-Za-z0-9_$-]+)\$")


class Filter(NamedTuple):
    """Which events a reader of ``$all`` wants."""

    matches: Callable[[Event], bool]
    query: Query | None = None
    """What all of them match, where an index knows it."""
    interval: int = 0
    """Positions between two checkpoints of a subscription; 0: it gets none."""


def everything(event: Event) -> bool:
    """The filter that leaves nothing out."""
    return True


class Source(msgspec.Struct, frozen=True):
    """A filter as it was sent, so that it can be kept."""

    on_type: bool
    expression: str
    prefixes: tuple[str, ...]
    interval: int

    @classmethod
    def of(cls, given: Any) -> Source:
        """From a message. ``Refused`` where it can't be followed."""
        subject = given.WhichOneof("filter")
        if subject is None:
            raise invalid("the filter says neither stream_identifier nor event_type")
        expression = given.stream_identifier if subject == "stream_identifier" else given.event_type
        window = given.max if given.WhichOneof("window") == "max" else WINDOW
        interval = max(1, window) * max(1, given.checkpointIntervalMultiplier)
        prefixes = tuple(expression.prefix)
        if len(prefixes) > PREFIXES_MOST or len(expression.regex) > EXPRESSION_MOST:
            raise invalid(f"the filter is longer than {PREFIXES_MOST} prefixes or {EXPRESSION_MOST} characters")
        source = cls(subject == "event_type", expression.regex, prefixes, interval)
        source.filter()  # refused here where its expression can't be read
        return source

    def filter(self) -> Filter:
        """The filter itself."""
        prefixes = self.prefixes
        if len(prefixes) == 1 and prefixes[0].startswith(INDEX):
            return Filter(everything, index_query(prefixes[0]), self.interval)
        text_of = _type_of if self.on_type else _stream_of
        if prefixes:
            query = _prefix_query(prefixes, self.on_type)
            return Filter(lambda event: text_of(event).startswith(prefixes), query, self.interval)
        query = _literal_query(self.expression, self.on_type)
        return Filter(_expression(self.expression, text_of), query, self.interval)


def filter_of(options: Any) -> Filter:
    """The filter in the options of a read."""
    if options.WhichOneof("filter_option") != "filter":
        return Filter(everything)
    return Source.of(options.filter).filter()


def _type_of(event: Event) -> str:
    return event.type


def _stream_of(event: Event) -> str:
    return shown_stream(event)[0]


def _expression(text: str, text_of: Callable[[Event], str]) -> Callable[[Event], bool]:
    try:
        search = regex.compile(text).search
    except (regex.error, RecursionError) as error:
        raise invalid(f"the filter's expression {text[:80]!r} can't be read: {error}") from None

    def matches(event: Event) -> bool:
        try:
            return search(text_of(event), timeout=MATCH_SECONDS) is not None
        except TimeoutError:
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"the filter's expression {text[:80]!r} took longer than {MATCH_SECONDS} s on one name: "
                "write it without repetitions inside repetitions, or use prefixes",
            ) from None

    return matches


def _prefix_query(prefixes: tuple[str, ...], on_type: bool) -> Query | None:
    """``loan-`` is the category ``loan``: an index knows where its events are."""
    if on_type or not all(each.count("-") == 1 and each.endswith("-") and len(each) > 1 for each in prefixes):
        return None
    return Query([QueryItem(categories=[each[:-1] for each in prefixes])]) if len(prefixes) <= 100 else None


def _literal_query(text: str, on_type: bool) -> Query | None:
    """``^LoanRequested$`` is a type."""
    literal = _LITERAL.fullmatch(text) if on_type else None
    return Query([QueryItem(types=[literal["type"]])]) if literal else None
