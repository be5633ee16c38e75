"""What a user's type checker is told is what happens."""

from __future__ import annotations

import inspect
import subprocess
import sys
import types
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import headwater
from headwater import store, subscriptions, sync

ROOT = Path(__file__).parent.parent.parent

PAIRS = [
    (store.EventStore, sync.EventStore),
    (store.BoundStore, sync.BoundStore),
    (store.Snapshots, sync.Snapshots),
    (store.Checkpoints, sync.Checkpoints),
    (subscriptions.Consumer, sync.Consumer),
    (subscriptions.Consumers, sync.Consumers),
    (subscriptions.ParkedEvents, sync.ParkedEvents),
    (subscriptions.ScheduledEvents, sync.ScheduledEvents),
    (subscriptions.Reaction, sync.Reaction),
]
TWINS = dict(PAIRS)

INTERNAL = {(subscriptions.Consumers, "about"), (subscriptions.Consumers, "parts")}
"""What only the package itself asks."""


def test_usage() -> None:
    """A user's code that is right passes ``mypy --strict``, and code that is wrong does not."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--enable-error-code",
        "unused-coroutine",
        "tests/typing/usage.py",
    ]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def _public(kind: type) -> dict[str, Any]:
    members = inspect.getmembers_static(kind)
    return {name: member for name, member in members if not name.startswith("_") and (kind, name) not in INTERNAL}


@pytest.mark.parametrize(("asynchronous", "synchronous"), PAIRS, ids=lambda kind: kind.__name__)
def test_same_names(asynchronous: type, synchronous: type) -> None:
    """The synchronous face has the same methods and properties, no more and no less."""
    assert _public(asynchronous).keys() == _public(synchronous).keys()
    for name, member in _public(asynchronous).items():
        assert isinstance(member, property) == isinstance(_public(synchronous)[name], property), name


@pytest.mark.parametrize(("asynchronous", "synchronous"), PAIRS, ids=lambda kind: kind.__name__)
def test_same_signatures(asynchronous: type, synchronous: type) -> None:
    """Each method takes the same arguments with the same defaults and types, and gives the same without ``await``."""
    for name, member in _public(asynchronous).items():
        if isinstance(member, types.FunctionType):
            one, other = inspect.signature(member), inspect.signature(_public(synchronous)[name])
            assert one.parameters == other.parameters, name
            assert _hints(member) == _hints(_public(synchronous)[name]), name


def test_same_connect() -> None:
    """``connect`` takes the same arguments in both faces."""
    assert inspect.signature(headwater.connect).parameters == inspect.signature(sync.connect).parameters


def _hints(function: Any) -> dict[str, Any]:
    """The types, with what the asynchronous face gives written as the synchronous one does."""
    hints = get_type_hints(function)
    given = hints["return"]
    if getattr(given, "__origin__", None) is AsyncGenerator:
        hints["return"] = Iterator[given.__args__[0]]
    elif given in TWINS:
        hints["return"] = TWINS[given]
    return hints
