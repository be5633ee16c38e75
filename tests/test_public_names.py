"""The public face: complete, sorted, documented."""

from __future__ import annotations

import enum
import inspect
import types
from typing import Any

import pytest

import headwater
from headwater import sync

NAMES = headwater.__all__


def test_all_is_sorted() -> None:
    """Constants, classes and functions, each in alphabetical order; every name once."""

    def kind(name: str) -> tuple[int, str]:
        return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)

    assert sorted(NAMES, key=kind) == NAMES
    assert len(set(NAMES)) == len(NAMES)


def test_all_is_complete() -> None:
    """Everything that the package hands on is named; nothing else is public but its modules."""
    handed_on = {
        name
        for name, value in vars(headwater).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType) and name != "annotations"
    }
    assert handed_on == set(NAMES)


def test_every_error_is_public() -> None:
    """A program can catch each error by a name of the package."""
    from headwater import errors

    assert set(errors.__all__) <= set(NAMES)


def _described(value: Any) -> list[tuple[str, Any]]:
    """The public methods and properties that a class itself brings."""
    return [
        (name, member)
        for base in value.__mro__
        if base.__module__.startswith("headwater")
        for name, member in vars(base).items()
        if not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, (property, classmethod)))
    ]


CLASSES = [*(getattr(headwater, name) for name in NAMES), *(getattr(sync, name) for name in sync.__all__)]


@pytest.mark.parametrize("value", CLASSES, ids=lambda value: getattr(value, "__qualname__", repr(value)))
def test_documented(value: Any) -> None:
    """Each public class and function, and each public method, says what it means."""
    if isinstance(value, enum.Enum):
        return
    assert inspect.getdoc(value), f"{value} has no docstring"
    if inspect.isclass(value):
        undocumented = [name for name, member in _described(value) if not inspect.getdoc(member)]
        assert not undocumented, f"without a docstring: {undocumented}"


def test_annotated() -> None:
    """Each public function and method has annotations for all it takes and gives."""
    for value in CLASSES:
        methods = [member for _, member in _described(value)] if inspect.isclass(value) else [value]
        for method in methods:
            if inspect.isfunction(method):
                signature = inspect.signature(method)
                given = [each for each in signature.parameters.values() if each.name != "self"]
                assert all(each.annotation is not inspect.Parameter.empty for each in given), method
                assert signature.return_annotation is not inspect.Signature.empty, method
