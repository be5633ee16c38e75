"""Checks of what a caller gives, before a backend is asked: names, places, expectations, queries."""

from __future__ import annotations

import re

from headwater.errors import InvalidEvent, InvalidQuery, TooLarge
from headwater.limits import Limits
from headwater.queries import Expected, Query

__all__ = ["check_expectation", "check_place", "check_query", "checked_name"]

_UNSTORABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


def checked_name(kind: str, text: object, limit: str, most: int) -> str:
    """``text``, if it can name a stream, type or tag in every backend: not empty, printable, within ``most`` bytes."""
    if isinstance(text, str) and 0 < len(text) <= most and text.isascii() and text.isprintable():
        return text
    if not isinstance(text, str) or not text:
        raise InvalidEvent(f"the {kind} is {text!r}", "Give a text that is not empty.")
    bad = _UNSTORABLE.search(text)
    if bad:
        raise InvalidEvent(
            f"the {kind} {text[:80]!r} holds the character {bad.group()!r}",
            "Control characters and lone surrogates can't stand in names.",
        )
    size = len(text) if text.isascii() else len(text.encode())
    if size > most:
        raise TooLarge(f"the {kind} {text[:40]!r}… (in bytes)", size, limit, most)
    return text


def check_expectation(expected: object) -> None:
    """Refuse anything but an expected version. Raises ``InvalidQuery``."""
    if isinstance(expected, Expected) or (
        isinstance(expected, int) and not isinstance(expected, bool) and expected >= 0
    ):
        return
    raise InvalidQuery(
        f"expected is {expected!r}",
        "Give ANY, NO_STREAM, STREAM_EXISTS or the version you read (0 = no stream).",
    )


def check_place(name: str, value: object) -> None:
    """Refuse anything but a version, position or count (or None). Raises ``InvalidQuery``."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise InvalidQuery(f"{name} is {value!r}", "Give a number from 0 up.")


def check_query(query: Query, limits: Limits) -> None:
    """Refuse anything but a query within the limits. Raises ``InvalidQuery`` and ``TooLarge``."""
    if not isinstance(query, Query):
        raise InvalidQuery(f"the query is {query!r}", "Give a headwater.Query.")
    if len(query.items) > limits.query_items_max:
        raise TooLarge("the query's list of items", len(query.items), "query_items_max", limits.query_items_max)
    values = [each for item in query.items for each in (*item.types, *item.tags, *item.categories, *item.streams)]
    if len(values) > limits.query_values_max:
        raise TooLarge("the query (in values)", len(values), "query_values_max", limits.query_values_max)
    for each in values:
        checked_name("query's value", each, "stream_name_bytes_max", limits.stream_name_bytes_max)
