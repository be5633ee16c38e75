"""Between the casing of JSON names here (``amount_paid``) and in the .NET application's events (``AmountPaid``).

Only names of members change, whatever is in them stays to the byte. A name changes where it can be changed back: of
snake case here, and of the other casing there; any other one stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

__all__ = ["CASINGS", "Casing", "JsonCasing"]

JsonCasing = Literal["pascal", "camel", "as-is"]
"""``pascal``: Marten's default; ``camel``; ``as-is``: also for an application that writes snake case."""

CASINGS: tuple[JsonCasing, ...] = ("pascal", "camel", "as-is")

_NAME = re.compile(rb'("(?<!\\")[A-Za-z][A-Za-z0-9_]*+"\s*+:)')
"""A name of a JSON document that might be one to change, and the colon behind it. It is no part of a text: a quotation
mark in one has a backslash before it, and behind the end of one stands no letter. (Possessive: what was matched is not
given back. The mark comes before what looks behind it: that is five times as fast in a long text.)"""
_SNAKE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z][a-z0-9]*)*")
_PASCAL = re.compile(r"(?:[A-Z][a-z0-9]*)+")
_CAMEL = re.compile(r"[a-z][a-z0-9]*(?:[A-Z][a-z0-9]*)+")
_WORD = re.compile(r"(?<!^)(?=[A-Z])")

Rename = Callable[[bytes], bytes]


class Casing:
    """One of the two applications' ways to write names into the other's."""

    def __init__(self, casing: JsonCasing) -> None:
        self._there, self._here = _RENAMES[casing]

    def there(self, data: bytes) -> bytes:
        """A JSON document of ours as the .NET application writes it."""
        return data if self._there is None else _renamed(data, self._there)

    def here(self, data: bytes) -> bytes:
        """A JSON document of the .NET application as we write it."""
        return data if self._here is None else _renamed(data, self._here)


def _renamed(data: bytes, rename: Rename) -> bytes:
    parts = _NAME.split(data)
    parts[1::2] = map(rename, parts[1::2])
    return b"".join(parts)


def _to_pascal(text: str) -> str:
    return "".join(word[0].upper() + word[1:] for word in text.split("_")) if _SNAKE.fullmatch(text) else text


def _to_camel(text: str) -> str:
    first, *more = text.split("_")
    return first + _to_pascal("_".join(more)) if more and _SNAKE.fullmatch(text) else text


def _from_pascal(text: str) -> str:
    return _to_snake(text) if _PASCAL.fullmatch(text) else text


def _from_camel(text: str) -> str:
    return _to_snake(text) if _CAMEL.fullmatch(text) else text


def _to_snake(text: str) -> str:
    return "_".join(_WORD.split(text)).lower()


def _on_bytes(change: Callable[[str], str], back: Callable[[str], str] | None = None) -> Rename:
    """The change of a name as it stands in a document, with its colon; where it could not be changed ``back``, it
    stays."""

    @lru_cache(maxsize=10_000)
    def rename(name: bytes) -> bytes:
        _, text, colon = name.decode().split('"')
        changed = change(text)
        return f'"{changed}"{colon}'.encode() if back is None or back(changed) == text else name

    return rename


_RENAMES: dict[JsonCasing, tuple[Rename | None, Rename | None]] = {
    "pascal": (_on_bytes(_to_pascal, _from_pascal), _on_bytes(_from_pascal)),
    "camel": (_on_bytes(_to_camel, _from_camel), _on_bytes(_from_camel)),
    "as-is": (None, None),
}
