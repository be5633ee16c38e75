"""Between the names of event types here and Marten's aliases of them.

Marten's default (``EventNamingStyle.ClassicTypeName``) makes an alias of a class's name: a space before a capital (or
any other character that is no lower-case letter) that begins a word, all lower case, spaces as ``_``. So
``LoanRequested`` is ``loan_requested``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Literal

__all__ = ["Aliases", "Naming", "alias_of_class"]

Naming = Literal["class", "alias"]

_MARK = "="
"""Begins a code that holds a type. No alias of a .NET class begins so."""


@lru_cache(maxsize=10_000)
def alias_of_class(name: str) -> str:
    """The alias that Marten gives to a class of this name by default."""
    spaced = "".join(_with_space(name, place, _begins_word) for place in range(len(name)))
    return "".join(_with_space(spaced, place, _leaves_word) for place in range(len(spaced))).lower().replace(" ", "_")


def _with_space(text: str, place: int, parted: Callable[[str, int], bool]) -> str:
    return (" " if place and parted(text, place) else "") + text[place]


def _begins_word(text: str, place: int) -> bool:
    """Between two characters of which neither is a lower-case letter, but the next one is."""
    return not _is_lower(text[place - 1]) and not _is_lower(text[place]) and _is_lower(text[place + 1 : place + 2])


def _leaves_word(text: str, place: int) -> bool:
    """Between a lower-case letter and a character that is none."""
    return _is_lower(text[place - 1]) and not _is_lower(text[place])


def _is_lower(letter: str) -> bool:
    return bool(letter) and unicodedata.category(letter) == "Ll"


class Aliases:
    """Types and aliases, both ways.

    A type with a capital is taken for a class's name, and has that class's alias; one without stands for itself. Back,
    an alias becomes the name of the class that would have it. ``given`` overrides the rule, by type. With the naming
    ``alias``, types are aliases.

    A *code* is what is stored of a type beside its alias where that does not tell it: ``=`` and the type.
    """

    def __init__(self, naming: Naming = "class", given: Mapping[str, str] | None = None) -> None:
        self._by_class = naming == "class"
        self._given = dict(given or {})
        self._types = {alias: kind for kind, alias in self._given.items()}

    def alias(self, kind: str) -> str:
        """The alias of a type."""
        if kind in self._given:
            return self._given[kind]
        return alias_of_class(kind) if self._by_class and kind != kind.lower() else kind

    def code(self, kind: str) -> str | None:
        """What is to be stored beside the alias; None where that is enough."""
        return None if self.type_of(self.alias(kind)) == kind and not kind.startswith(_MARK) else _MARK + kind

    def key(self, kind: str) -> str:
        """By which events of this type are found: its code, else its alias."""
        return self.code(kind) or self.alias(kind)

    def type_of(self, key: str) -> str:
        """The type that is stored as this code or alias."""
        if key in self._types:
            return self._types[key]
        if key.startswith(_MARK):
            return key[1:]
        if not self._by_class:
            return key
        name = _class_of(key)
        return name if name not in self._given and alias_of_class(name) == key else key


@lru_cache(maxsize=10_000)
def _class_of(alias: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in alias.split("_"))
