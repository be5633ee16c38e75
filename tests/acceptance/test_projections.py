"""The example's read model of the full BPI Challenge 2012 log, by the command line: live, rebuilt, switched."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

import headwater.sync
from headwater.lifecycle import Mapping, import_file
from tests.acceptance.conftest import FULL_LOG, SAMPLE_CASES, SAMPLE_EVENTS, Run
from tests.unit.projections.conftest import rows

EXAMPLE = Path(__file__).parents[2] / "examples" / "case_times.py"
FIRST, SECOND = f"{EXAMPLE}:CaseTimes", f"{EXAMPLE}:CaseTimesWithHours"

Case = tuple[int, int, int, int]
"""First and last event in microseconds, events, rework."""


def counted(url: str) -> tuple[dict[str, Case], Counter[tuple[str, str]]]:
    """The same numbers, counted without a projection: per case, and how often each activity was completed in it."""
    times: dict[str, list[str]] = defaultdict(list)
    completed: Counter[tuple[str, str]] = Counter()
    with headwater.sync.connect(url) as store:
        for event in store.read_all():
            assert event.stream is not None
            data = event.data
            times[event.stream].append(data["time:timestamp"])
            completed[event.stream, event.type] += data["lifecycle:transition"] == "COMPLETE"
    rework: Counter[str] = Counter()
    for (loan, _), count in completed.items():
        rework[loan] += max(0, count - 1)
    cases = {
        loan: (_microseconds(texts[0]), _microseconds(texts[-1]), len(texts), rework[loan])
        for loan, texts in times.items()
    }
    return cases, +completed


def _microseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000) * 1000  # the log's times have milliseconds


def stored(into: str) -> tuple[dict[str, Case], Counter[tuple[str, str]]]:
    cases = rows(into, "select loan, first_us, last_us, events, rework from cases")
    completed = rows(into, "select loan, activity, completed from activities")
    return {row[0]: row[1:] for row in cases}, Counter({row[:2]: row[2] for row in completed})  # type: ignore[misc]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a store that holds the full log."""
    import asyncio

    url = f"sqlite:///{tmp_path_factory.mktemp('full')}/loans.db"
    asyncio.run(import_file(str(FULL_LOG), url, mapping=Mapping(category="loan")))
    return url


@pytest.mark.slow
@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
def test_the_full_log_live_rebuilt_and_switched(
    run: Run,
    start: Callable[..., subprocess.Popen[bytes]],
    full: str,
    target: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    into = (
        f"sqlite:///{tmp_path}/times.db" if target == "sqlite" else str(request.getfixturevalue("postgres_schema_url"))
    )
    where = (full, "--into", into)
    runner = start("projections", "run", FIRST, *where)
    try:
        assert runner.stderr is not None
        assert b"case_times version 1 runs from position 0 of 262,200" in runner.stderr.readline()
        built = json.loads(run("projections", "rebuild", SECOND, *where, "--partitions", 2, "--json").stdout)
        assert built == {
            "projection": "case_times",
            "version": 2,
            "position": 262_200,
            "events": 262_200,
            "serving": False,
        }
        run(
            "projections", "run", FIRST, *where, "--once"
        )  # beside the runner: whoever is faster, each event counts once
    finally:
        runner.send_signal(signal.SIGTERM)
        _, said = runner.communicate(timeout=60)
    assert runner.returncode == 0
    assert b"stopped at position 262,200" in said

    cases, completed = counted(full)
    assert len(cases) == 13_087
    assert stored(into) == (cases, completed)
    compared = json.loads(run("projections", "compare", SECOND, *where, "--json").stdout)
    assert [(each["rows_old"], each["changed"]) for each in compared["tables"]] == [(13_087, 0), (len(completed), 0)]
    run("projections", "switch", SECOND, *where)
    assert stored(into) == (cases, completed), "now of version 2"
    hours = dict(rows(into, "select loan, hours from cases"))
    assert all(abs(hours[loan] - (last - first) / 3.6e9) < 1e-6 for loan, (first, last, _, _) in cases.items())  # type: ignore[operator]


def test_the_commands(run: Run, imported: str, tmp_path: Path) -> None:
    where = (imported, "--into", "sqlite:///times.db")
    run("projections", "list", *where, code=1)
    assert not (tmp_path / "times.db").exists()
    assert f"{SAMPLE_EVENTS:,} events" in run("projections", "rebuild", FIRST, *where).stdout
    run("projections", "compare", FIRST, *where, code=1)
    run("projections", "rebuild", SECOND, *where)
    table = run("projections", "list", *where).stdout
    assert "case_times" in table
    assert "serves" in table
    listed = [json.loads(line) for line in run("projections", "list", *where, "--json").stdout.splitlines()]
    assert [(each["version"], each["serving"], each["behind"]) for each in listed] == [(1, True, 0), (2, False, 0)]
    assert "All rows are the same" in run("projections", "compare", SECOND, *where).stdout
    assert len(rows(f"sqlite:///{tmp_path}/times.db", "select * from cases")) == SAMPLE_CASES
    assert "version 2 serves now" in run("projections", "switch", SECOND, *where).stdout
    assert "served already" in run("projections", "switch", SECOND, *where).stdout
    assert "can't be dropped" in run("projections", "drop", SECOND, *where, code=1).stderr
    run("projections", "drop", "case_times", *where, "--version", 1)
    assert "has no version 1" in run("projections", "drop", "case_times", *where, "--version", 1, code=1).stderr
    assert len(run("projections", "list", *where, "--json").stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("case_times", "names no class"),
        ("nowhere.py:CaseTimes", "no file nowhere.py"),
        ("no.such.module:CaseTimes", "no module"),
        (f"{EXAMPLE}:Cases", "CaseTimesWithHours"),
    ],
)
def test_a_class_that_is_not_there(run: Run, imported: str, named: str, says: str) -> None:
    refused = run("projections", "run", named, imported, "--into", "sqlite:///times.db", code=2)
    assert says in " ".join(refused.stderr.replace("│", " ").split())


def test_rows_that_differ_are_shown(run: Run, imported: str, tmp_path: Path) -> None:
    (tmp_path / "views.py").write_text(
        EXAMPLE.read_text().replace('"COMPLETE"', '"START"').replace("class CaseTimesW", "class W")
    )
    where = (imported, "--into", "sqlite:///times.db")
    run("projections", "rebuild", FIRST, *where)
    run("projections", "rebuild", "views:WithHours", *where)  # a module of this folder
    shown = run("projections", "compare", "views:WithHours", *where, "--examples", 3, code=1).stdout
    assert "Some rows differ" in shown
    assert "cases: only now has hours; not compared" in shown
    assert shown.count('"kind"') == 6
