"""Saying that a class is an event: ``@event("LoanRequested", version=2)``."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from headwater.errors import HeadwaterError

__all__ = ["Change", "Converter", "Declared", "InvalidType", "declared", "event", "type_name"]

K = TypeVar("K", bound=type)

_MARK = "__headwater_event__"

Converter = Callable[[dict[str, Any]], dict[str, Any]]
"""From the fields of one version to those of a neighbouring one. It gets a dict of its own, and may change it."""


class InvalidType(HeadwaterError, TypeError):
    """A class can't be an event as declared. Attributes: ``subject``, what it is about; ``problem``; ``remedy``."""

    def __init__(self, subject: str, problem: str, remedy: str) -> None:
        self.subject = subject
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{subject} {problem}. {remedy}")


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A converter that needs no code: ``Change(rename={"amt": "amount"}, default={"currency": "EUR"}, drop=["x"])``.

    Names are renamed first, then defaults are set where a name is missing, then names are dropped.
    """

    rename: Mapping[str, str] = {}
    default: Mapping[str, Any] = {}
    drop: Iterable[str] = ()

    def __call__(self, fields: dict[str, Any]) -> dict[str, Any]:
        changed = {self.rename.get(name, name): value for name, value in fields.items()}
        for name, value in self.default.items():
            changed.setdefault(name, copy.deepcopy(value))
        for name in self.drop:
            changed.pop(name, None)
        return changed


class Declared(msgspec.Struct, frozen=True):
    """What a class was declared as."""

    name: str
    """The type under which it is stored, whatever the class is called and wherever it is."""
    version: int
    kind: type
    upcast: Mapping[int, Converter]
    """From this version to the next."""
    downcast: Mapping[int, Converter]
    """From this version to the one before."""
    tags: Callable[[Any], Iterable[str]] | None
    """The tags of an event, from its fields."""


def event(
    name: str,
    *,
    version: int = 1,
    upcast: Mapping[int, Converter] | None = None,
    downcast: Mapping[int, Converter] | None = None,
    tags: Callable[[Any], Iterable[str]] | None = None,
) -> Callable[[K], K]:
    """Declare a ``msgspec.Struct``, a dataclass or a pydantic model as an event.

    Arguments:
        name: the type under which it is stored. Never change it; the class may be renamed and moved.
        version: of its fields. Raise it when they change so that old ones can't be read as they are.
        upcast: for each earlier version, how its fields become those of the next: ``{1: Change(rename=…), 2: to_3}``.
        downcast: for versions above 1, how fields become those of the version before; needed only to write an older
            version while programs that know no newer one still run.
        tags: the event's tags, from the event: ``tags=lambda e: [f"applicant:{e.applicant}"]``.

    Raises ``InvalidType`` where the declaration can't hold.
    """
    up, down = dict(upcast or {}), dict(downcast or {})

    def mark(kind: K) -> K:
        _check(name, version, kind, up, down)
        setattr(kind, _MARK, Declared(name, version, kind, up, down, tags))
        return kind

    return mark


def declared(kind: type) -> Declared:
    """What a class was declared as. ``InvalidType`` where it was not: a subclass is no event by inheritance."""
    found = vars(kind).get(_MARK)
    if not isinstance(found, Declared):
        raise InvalidType(
            f"{kind.__module__}.{kind.__qualname__}", "is not declared as an event", 'Put @event("ItsName") above it.'
        )
    return found


def type_name(kind: type) -> str:
    """The type under which objects of this class are stored. ``InvalidType`` where it is not declared."""
    return declared(kind).name


def _check(name: Any, version: Any, kind: Any, up: Mapping[int, Any], down: Mapping[int, Any]) -> None:
    if not isinstance(name, str) or not name:
        raise InvalidType(f"@event({name!r})", "names no type", 'Write @event("LoanRequested").')
    subject = f"event {name!r}"
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InvalidType(subject, f"has the version {version!r}", "Give 1, then 2, and so on.")
    if missing := [each for each in range(1, version) if each not in up]:
        raise InvalidType(
            subject,
            f"has version {version}, but nothing says how version {missing[0]} becomes {missing[0] + 1}",
            f"Give upcast={{{missing[0]}: Change(…)}} or a function; Change() where old ones can be read as they are.",
        )
    if wrong := [each for each in up if not 1 <= each < version] + [each for each in down if not 1 < each <= version]:
        raise InvalidType(subject, f"has a converter from version {wrong[0]}", f"Versions go from 1 to {version}.")
    if not isinstance(kind, type):
        raise InvalidType(subject, "is declared on something that is no class", "Put @event above a class.")
