"""Which method handles which events: ``@handles("A_SUBMITTED")``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from headwater.errors import HeadwaterError
from headwater.events import Event
from headwater.queries import Query, QueryItem

__all__ = ["Handlers", "InvalidProjection", "handles"]

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__headwater_handles__"


class InvalidProjection(HeadwaterError, ValueError):
    """A projection can't be used as asked. Attributes: ``projection``, its name; ``problem``; ``remedy``."""

    def __init__(self, projection: str, problem: str, remedy: str) -> None:
        self.projection = projection
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"projection {projection!r}: {problem}. {remedy}")


def handles(*types: str) -> Callable[[F], F]:
    """Mark a method of a ``Projection`` or ``Fold`` as the handler of these types of events; of every event, if none.

    An event that several methods handle goes to each of them, in the order in which they stand in the class.
    """
    wrong = [each for each in types if not isinstance(each, str) or not each]
    if wrong:
        raise InvalidProjection(
            "handles", f"{wrong[0]!r} is not a type of event", 'Write @handles("LoanRequested"), or @handles() for all.'
        )

    def mark(method: F) -> F:
        setattr(method, _MARK, types)
        return method

    return mark


class Handlers:
    """The handlers of an object's class, ready to be called."""

    def __init__(self, owner: object) -> None:
        self._by_type: dict[str, list[Callable[[Event, Any], Any]]] = {}
        self._of_all: list[Callable[[Event, Any], Any]] = []
        marked = _marked(type(owner))
        types = {each for given in marked.values() for each in given}
        for name, given in marked.items():
            method = getattr(owner, name)
            if not given:
                self._of_all.append(method)
            for each in given or types:
                self._by_type.setdefault(each, []).append(method)
        if not marked:
            raise InvalidProjection(
                getattr(owner, "name", type(owner).__name__),
                f"{type(owner).__name__} has no handlers",
                'Mark methods (self, event, …) with @headwater.handles("LoanRequested").',
            )

    def of(self, event: Event) -> list[Callable[[Event, Any], Any]]:
        """The handlers of this event, in order."""
        return self._by_type.get(event.type, self._of_all)

    @property
    def types(self) -> list[str] | None:
        """The types of events that have a handler; None: every type."""
        return None if self._of_all else sorted(self._by_type)

    def query(self) -> Query | None:
        """The query for the events that have a handler; None for every event."""
        return None if self.types is None else Query([QueryItem(types=self.types)])


def _marked(kind: type) -> dict[str, tuple[str, ...]]:
    """The names of marked methods with their types of events, base classes first. An override keeps the mark."""
    return {
        name: getattr(member, _MARK)
        for base in reversed(kind.__mro__)
        for name, member in vars(base).items()
        if hasattr(member, _MARK)
    }
