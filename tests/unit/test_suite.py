"""The conformance suite notices the faults that event stores have, and runs for a third party as documented."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from headwater import sync
from headwater.store import EventStore
from headwater.testing.conformance import Conformance
from headwater.testing.machine import check_against_model
from headwater.testing.recording import recorded
from tests.conformance.page import promises
from tests.unit.faulty import FAULTS

ROOT = Path(__file__).parent.parent.parent


def _run(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rf",
        "--tb=short",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.unit.faulty",
    ]
    command += ["-c", "pyproject.toml", "--pyargs", "headwater.testing.conformance", "--store-url", url, *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("fault", "tests"),
    [
        ("loses", ["test_tailing_reader", "test_consumer_cancelled_under_load"]),
        ("checks-early", ["test_one_wins_each_round", "test_racing_conditions"]),
        ("forgets", ["test_retry_with_a_stale_expectation"]),
        ("halves", ["test_several_streams_all_or_none"]),
        ("ignores", ["test_after_0_ignores_nothing", "test_same_rules_as_reading"]),
        ("bends", ["test_payloads"]),
        ("holds", ["test_long_read"]),
        ("swaps", ["test_record_as_expected_only", "test_one_swap_wins_each_round", "test_fenced_member"]),
        ("swaps-half", ["test_records_all_or_none"]),
        ("sleeps", ["test_catch_up_then_live"]),
        ("skips", ["test_slow_reader", "test_slow_handler"]),
        ("repeats", ["test_slow_reader", "test_consumer_cancelled_under_load"]),
        ("ageless", ["test_fenced_member", "test_ages_rise"]),
        ("aged", ["test_fenced_member"]),
    ],
)
def test_faults_are_noticed(fault: str, tests: list[str]) -> None:
    """A backend with a fault fails the tests of the promise that it breaks."""
    run = _run(f"{fault}:", "-k", " or ".join(tests))
    assert run.returncode == 1, run.stdout + run.stderr
    for test in tests:
        assert re.search(rf"FAILED .*::{test}(\[async.*\])?( |$)", run.stdout, re.MULTILINE), run.stdout


@pytest.mark.parametrize("fault", ["forgets", "halves", "ignores"])
def test_random_histories_find_faults(fault: str) -> None:
    """The state machine finds by itself what the tests look for."""
    with sync.EventStore(EventStore(FAULTS[fault]())) as store, pytest.raises((AssertionError, ExceptionGroup)):
        check_against_model(store, examples=200, shrink=False)


def test_third_party(tmp_path: Path) -> None:
    """``--pyargs headwater.testing.conformance`` gives each test a store of its own by ``{unique}``."""
    run = _run(f"sqlite:///{tmp_path}/{{unique}}.db", "-k", "AppendPromises or test_first_append or test_bounds")
    assert run.returncode == 0, run.stdout
    assert len(list(tmp_path.glob("*.db"))) > 20


def test_one_store_for_all_tests_is_refused(tmp_path: Path) -> None:
    run = _run(f"sqlite:///{tmp_path}/loans.db", "-k", "test_first_append")
    assert run.returncode == 1
    assert "{unique}" in run.stdout


def test_without_a_url_nothing_is_run() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        "pyproject.toml",
        "--pyargs",
        "headwater.testing.conformance",
    ]
    run = subprocess.run([*command, "-k", "first_append"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0
    assert re.search(r"^\d+ skipped, \d+ deselected", run.stdout, re.MULTILINE)


def test_no_test_hides_another_of_its_name() -> None:
    """The suite's classes are inherited together: of two tests with one name only the first would ever run."""
    names = [name for kind in Conformance.__mro__ for name in vars(kind) if name.startswith("test_")]
    assert sorted(names) == sorted(set(names))


def test_every_test_of_the_suite_says_what_it_shows() -> None:
    tests = [each for kind in Conformance.__mro__ for name, each in vars(kind).items() if name.startswith("test_")]
    assert len(tests) > 200
    assert [each.__qualname__ for each in tests if not each.__doc__] == []


def test_promises_are_recorded(tmp_path: Path) -> None:
    """What was kept, what the capabilities deny, and what is broken; homes that were not run stay as they were."""
    file = tmp_path / "promises.json"
    file.write_text('{"SQLite": {}}')
    tests = "test_first_append_makes or test_tailing_reader or test_killed_counter"
    _run("memory:", "--promises", str(file), "-k", tests)
    told = recorded(file)
    assert list(told) == ["SQLite", "GivenStore"]
    first = told["GivenStore"]["append"]["test_first_append_makes_the_stream"]
    assert (first.outcome, first.runs) == ("kept", 2)
    assert first.sentence == "The first append makes the stream, at version 1."
    killed = told["GivenStore"]["records"]["test_killed_counter"]
    assert (killed.outcome, killed.reason) == ("not promised", "memory says durable=False in its capabilities")
    _run("loses:", "--promises", str(file), "-k", "test_tailing_reader")
    assert recorded(file)["GivenStore"]["concurrency"]["test_tailing_reader"].outcome == "broken"


def test_the_page_of_guarantees_is_the_suites() -> None:
    """Each promise and each test of the suite stands in it, for each home; ``make guarantees`` writes it."""
    shown = (ROOT / "docs" / "guarantees.md").read_text()
    for promise, sentences in promises().values():
        assert f"### {promise}" in shown
        missing = [each for each in sentences.values() if f"| {each} | " not in shown.replace("&#124;", "|")]
        assert missing == [], "run make guarantees"
    assert "**broken**" not in shown
