"""Whatever the asynchronous face has, the synchronous one has too: the same names, arguments and answers."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from headwater import store, subscriptions, sync

TWINS = {
    store.EventStore: sync.EventStore,
    store.BoundStore: sync.BoundStore,
    store.Snapshots: sync.Snapshots,
    store.Checkpoints: sync.Checkpoints,
    subscriptions.Consumer: sync.Consumer,
    subscriptions.Consumers: sync.Consumers,
    subscriptions.ParkedEvents: sync.ParkedEvents,
    subscriptions.ScheduledEvents: sync.ScheduledEvents,
    subscriptions.Reaction: sync.Reaction,
}

INTERNAL = {subscriptions.Consumers: {"about", "parts"}}
"""What only the package itself asks, by class."""


def public(kind: type) -> dict[str, Any]:
    """Methods and properties that a user calls, with those of the classes that it is made of."""
    members = {name: value for base in reversed(kind.__mro__[:-1]) for name, value in vars(base).items()}
    callable_ = {name: value for name, value in members.items() if inspect.isfunction(value) or _is_property(value)}
    return {name: value for name, value in callable_.items() if not name.startswith("_")}


def _is_property(value: object) -> bool:
    return isinstance(value, property)


def arguments(method: Any) -> list[tuple[str, object, object, object]]:
    signature = inspect.signature(method.fget if isinstance(method, property) else method)
    return [(each.name, each.kind, each.default, each.annotation) for each in signature.parameters.values()]


def answer(method: Any) -> str:
    """What a method gives, in the words of the synchronous face."""
    given = str(inspect.signature(method.fget if isinstance(method, property) else method).return_annotation)
    return re.sub(r"Async(?:Generator\[(.*), None\]|Iterator\[(.*)\])", r"Iterator[\1\2]", given)


@pytest.mark.parametrize(("asynchronous", "blocking"), TWINS.items(), ids=lambda kind: kind.__name__)
def test_twins(asynchronous: type, blocking: type) -> None:
    theirs, ours = public(asynchronous), public(blocking)
    assert set(theirs) - INTERNAL.get(asynchronous, set()) == set(ours)
    for name, method in ours.items():
        assert arguments(theirs[name]) == arguments(method), name
        assert answer(theirs[name]) == answer(method), name
        assert not inspect.iscoroutinefunction(method), name
    assert hasattr(asynchronous, "__aenter__") == hasattr(blocking, "__enter__")


def test_every_class_has_its_twin() -> None:
    named = {value for value in vars(sync).values() if inspect.isclass(value) and value.__name__ in sync.__all__}
    assert named | {sync.Reaction} == set(TWINS.values())
