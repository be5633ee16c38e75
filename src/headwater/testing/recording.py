"""What came of the suite's tests, kept in a file: which home of events keeps which promise, and why not."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from headwater.testing.conformance import Conformance

__all__ = ["Kept", "Recorder", "Told", "recorded"]

Outcome = Literal["kept", "broken", "not promised", "not run"]


class Told(msgspec.Struct):
    """One test of the suite, over all its runs for one home."""

    sentence: str
    """What it shows: the first sentence of its docstring."""
    outcome: Outcome
    """``not promised``: the home's ``capabilities`` say so. ``not run``: something was not to be had here."""
    reason: str = ""
    runs: int = 0


Kept = dict[str, dict[str, dict[str, Told]]]
"""By home, by module of the suite, by test."""

_WORST: tuple[Outcome, ...] = ("broken", "kept", "not promised", "not run")


class Recorder:
    """A pytest plugin that writes what came of the classes which inherit the whole of ``Conformance``.

    A class says which home it is about by the attribute ``home``; else it is the class's name without ``Test``. Homes
    that were recorded before, and were not run now, stay in the file.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._kept: Kept = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        kind = getattr(item, "cls", None)
        if isinstance(item, pytest.Function) and isinstance(kind, type) and issubclass(kind, Conformance):
            home = getattr(kind, "home", kind.__name__.removeprefix("Test"))
            if home and (report.when == "call" or not report.passed):
                self._note(home, item, report)
        return report

    def _note(self, home: str, item: pytest.Function, report: pytest.TestReport) -> None:
        module = item.function.__module__.rpartition(".")[2]
        told = _told(item, report)
        tests = self._kept.setdefault(home, {}).setdefault(module, {})
        before = tests.setdefault(item.function.__name__, told)
        before.runs += 1
        if _WORST.index(told.outcome) < _WORST.index(before.outcome):
            before.outcome, before.reason = told.outcome, told.reason

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        known = recorded(self._file) if self._file.exists() else {}
        self._file.write_bytes(msgspec.json.format(msgspec.json.encode(known | self._kept), indent=1))


def _told(item: pytest.Function, report: pytest.TestReport) -> Told:
    sentence = " ".join((inspect.getdoc(item.function) or item.name).split("\n\n")[0].split())
    if report.passed:
        return Told(sentence, "kept")
    if report.failed:
        return Told(sentence, "broken", "it failed")
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    return Told(sentence, "not promised" if "in its capabilities" in reason else "not run", reason)


def recorded(file: Path) -> Kept:
    """What was recorded in this file."""
    return msgspec.json.decode(file.read_bytes(), type=Kept)
