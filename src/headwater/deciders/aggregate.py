"""Aggregates: the same as a decider, written as a class with methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeVar

from headwater.deciders.decider import Decider
from headwater.typed import InvalidType, Unknown

__all__ = ["Aggregate", "AggregateDecider", "applies"]

A = TypeVar("A", bound="Aggregate")
F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__headwater_applies__"


def applies(*kinds: type) -> Callable[[F], F]:
    """Mark a method of an ``Aggregate`` as what happens to it by events of these classes."""

    def mark(method: F) -> F:
        setattr(method, _MARK, kinds)
        return method

    return mark


class Aggregate:
    """A thing with a stream of its own. Subclass it; ``__init__`` takes no arguments and makes the initial state.

    Methods that decide call ``self.record(event)``, or raise to refuse; methods marked with ``@applies`` change the
    state, and do nothing else: they run for every event of the past too. Change it through a ``Repository``:
    ``await repository.execute("loan-173688", lambda loan: loan.approve("anna"))``.
    """

    version = 1
    """Raise it when the state's shape changes: snapshots of before are not used any more."""

    _recorded: list[object]
    _appliers: ClassVar[dict[type, Callable[[Any, Any], None]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        methods = [member for base in reversed(cls.__mro__) for member in vars(base).values() if hasattr(member, _MARK)]
        cls._appliers = {kind: method for method in methods for kind in getattr(method, _MARK)}

    def record(self, event: object) -> None:
        """This happened: apply it, and have it appended."""
        if type(event) not in self._appliers:
            raise InvalidType(
                f"{type(self).__name__}",
                f"records a {type(event).__name__}, but has no method for it",
                f"Mark a method (self, event) with @applies({type(event).__name__}), even an empty one.",
            )
        self.apply(event)
        vars(self).setdefault("_recorded", []).append(event)

    def apply(self, event: Any) -> Self:
        """Change the state by an event; one without a method leaves it alone."""
        applier = None if isinstance(event, Unknown) else self._appliers.get(type(event))
        if applier is not None:
            applier(self, event)
        return self

    def take_recorded(self) -> list[object]:
        """The events recorded since the last time, in order."""
        recorded: list[object] = vars(self).pop("_recorded", [])
        return recorded

    def dump(self) -> Any:
        """The state for a snapshot, JSON-able: the attributes. Override it, with ``restore``, for other values."""
        return {name: value for name, value in vars(self).items() if name != "_recorded"}

    @classmethod
    def restore(cls, dumped: Any) -> Self:
        """The aggregate from a snapshot. Raises where it does not fit."""
        made = cls()
        if set(dumped) != set(vars(made)):
            raise ValueError(f"the snapshot has {sorted(dumped)}, {cls.__name__} has {sorted(vars(made))}")
        vars(made).update(dumped)
        return made


class AggregateDecider(Decider[Callable[[A], object], A]):
    """An aggregate's class as a decider, whose commands are functions that call its methods."""

    def __init__(self, kind: type[A]) -> None:
        super().__init__(kind, _changed, _applied, name=kind.__name__, version=kind.version)
        self._kind = kind

    def dump(self, state: A) -> Any:
        return state.dump()

    def restore(self, dumped: Any) -> A:
        return self._kind.restore(dumped)


def _changed(change: Callable[[A], object], aggregate: A) -> list[object]:
    change(aggregate)
    return aggregate.take_recorded()


def _applied(aggregate: A, event: Any) -> A:
    return aggregate.apply(event)
