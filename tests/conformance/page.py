"""Writes docs/guarantees.md from what the suite has shown: ``make guarantees``."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path

from headwater.testing.conformance import Conformance
from headwater.testing.recording import Kept, Told, recorded

PAGE = Path(__file__).parents[2] / "docs" / "guarantees.md"
BESIDES = Path(__file__).parent / "besides.md"

INTRODUCTION = """# Guarantees

What each home of events promises, as the suite has shown it. Written by `make guarantees`, which runs
[the suite](how-to/prove-a-backend.md) over every home, through the asynchronous and the synchronous face; nothing in
these tables is written by hand. *yes*: every test of the promise has passed. *but …*: all but so many, which the home's
`capabilities` deny (–), or which could not be run (○); [every test](#every-test) is listed below. The tests are in
`src/headwater/testing/conformance/`, in the file that is named.
"""

MARKS = {"kept": "✓", "not promised": "–", "not run": "○", "broken": "✗"}


def promises() -> dict[str, tuple[str, dict[str, str]]]:
    """Each module of the suite: its promise, and the sentence of each test."""
    found = {}
    for kind in Conformance.__mro__[1:]:
        tests = {name: each for name, each in vars(kind).items() if name.startswith("test_")}
        if tests:
            module = importlib.import_module(kind.__module__)
            sentences = {name: _sentence(each) for name, each in tests.items()}
            found[module.__name__.rpartition(".")[2]] = (_sentence(module), sentences)
    return found


def _sentence(thing: object) -> str:
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def page(kept: Kept) -> str:
    """The whole page."""
    homes = list(kept)
    rows = ["| promise | file | " + " | ".join(homes) + " |", "|---|---|" + ":---:|" * len(homes)]
    for module, (promise, tests) in promises().items():
        cells = [_cell(kept[home].get(module, {}), list(tests)) for home in homes]
        rows.append(f"| {promise} | `{module}` | " + " | ".join(cells) + " |")
    denied = "\n".join(f"* {home}: {', '.join(_denied(kept, home)) or 'nothing'}" for home in homes)
    parts = [INTRODUCTION, "\n".join(rows), f"What a home denies, in its `capabilities`:\n\n{denied}"]
    return "\n\n".join(part.strip() for part in [*parts, BESIDES.read_text(), _every_test(kept)]) + "\n"


def _cell(told: dict[str, Told], tests: list[str]) -> str:
    outcomes = [told[name].outcome if name in told else "not run" for name in tests]
    if "broken" in outcomes:
        return f"**broken** ({outcomes.count('broken')})"
    if "kept" not in outcomes:
        return "–" if "not promised" in outcomes else "○"
    others = len(outcomes) - outcomes.count("kept")
    return f"but {others} of {len(outcomes)}" if others else "yes"


def _denied(kept: Kept, home: str) -> list[str]:
    reasons = {told.reason for tests in kept[home].values() for told in tests.values()}
    denied = {reason.partition(" says ")[2].partition(" in its ")[0] for reason in reasons if " says " in reason}
    return [f"`{each}`" for each in sorted(denied)]


def _every_test(kept: Kept) -> str:
    homes = list(kept)
    lines = ["## Every test", "", "✓ kept, – denied by `capabilities`, ○ not run, ✗ broken."]
    for module, (promise, tests) in promises().items():
        lines += ["", f"### {promise}", "", "| | " + " | ".join(homes) + " |", "|---|" + ":---:|" * len(homes)]
        for name, sentence in tests.items():
            told = [kept[home].get(module, {}).get(name) for home in homes]
            cells = ["○" if each is None else MARKS[each.outcome] for each in told]
            lines.append(f"| {sentence.replace('|', '&#124;')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Write the page; end with 1 where a promise is broken."""
    text = page(recorded(Path(sys.argv[1])))
    PAGE.write_text(text)
    if "**broken**" in text:
        sys.exit("a promise is broken: see docs/guarantees.md")


if __name__ == "__main__":
    main()
