"""How tests tell what they expected, what they found, and where the two part."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

__all__ = ["difference", "first_difference", "lines_of", "listed"]


def listed(values: Iterable[Any]) -> str:
    """The values in one line."""
    return ", ".join(map(repr, values)) or "nothing"


def difference(expected: Sequence[str], found: Sequence[str]) -> str:
    """The lines of both, each marked with where it belongs."""
    lines = difflib.ndiff(list(expected) or ["nothing"], list(found) or ["nothing"])
    return "\n".join(["expected (-), found (+):", *(line.rstrip("\n") for line in lines)])


def first_difference(expected: Sequence[str], found: Sequence[str]) -> str:
    """The first line in which they differ, and how many there are."""
    pairs = [(one, other) for one, other in zip_longest(expected, found, fillvalue="nothing more") if one != other]
    one, other = pairs[0]
    rest = f"\n(and {len(pairs) - 1} more lines differ)" if len(pairs) > 1 else ""
    return f"expected: {one}\nfound:    {other}{rest}"


def lines_of(value: Any) -> list[str]:
    """A value as lines that can be compared: those of a mapping or a set in order of their text."""
    if isinstance(value, Mapping):
        return sorted(f"{key!r}: {each!r}" for key, each in value.items())
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    return [repr(each) for each in value] if isinstance(value, list | tuple) else [repr(value)]
