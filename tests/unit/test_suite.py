"""The conformance suite notices the faults that event stores have, and runs for a third party as documented."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from headwater import sync
from headwater.store import EventStore
from headwater.testing.machine import check_against_model
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
