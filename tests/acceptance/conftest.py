"""The command as users run it: a process of its own, on stores in a temporary folder."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(sysconfig.get_path("scripts")) / "headwater"
FULL_LOG = Path(__file__).parents[2] / "examples" / "data" / "bpic2012.xes.gz"
SAMPLE_LOG = Path(str(files("headwater.lifecycle") / "sample" / "bpic2012-100.xes.gz"))
SAMPLE_EVENTS, SAMPLE_CASES = 2185, 100

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs ``headwater`` in the temporary folder; with ``code``, which exit code is right (0)."""

    def run(*arguments: object, code: int = 0, given: str | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [PROGRAM, *map(str, arguments)], cwd=tmp_path, input=given, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Starts ``headwater`` in the temporary folder, its standard input and output as pipes."""

    def start(*arguments: object) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return subprocess.Popen([PROGRAM, *map(str, arguments)], cwd=tmp_path, stdin=pipe, stdout=pipe, stderr=pipe)

    return start


@pytest.fixture
def imported(run: Run) -> str:
    """The URL of a store that holds the sample."""
    url = "sqlite:///loans.db"
    run("import", SAMPLE_LOG, "--into", url, "--category", "loan")
    return url


def sample_xml() -> str:
    """The sample log's text."""
    return gzip.decompress(SAMPLE_LOG.read_bytes()).decode()


def facts(line: str) -> dict[str, Any]:
    """An exported event without what the store itself decides: when it was recorded."""
    event: dict[str, Any] = json.loads(line)
    del event["recorded_at"]
    return event


def exported(run: Run, url: str, *options: str) -> list[dict[str, Any]]:
    """All events of a store, as they are exported."""
    return [facts(line) for line in run("export", url, *options).stdout.splitlines()]


def in_time_order(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a table as another system would have them: one event a row, the cases' events between each other."""
    rows = [
        {"case_id": each["stream"].removeprefix("loan-"), "activity": each["type"], **_columns(each)} for each in events
    ]
    return sorted(rows, key=lambda row: row["timestamp"])


def _columns(event: dict[str, Any]) -> dict[str, Any]:
    data = event["data"]
    return {
        "timestamp": data["time:timestamp"],
        "transition": data["lifecycle:transition"],
        "resource": data.get("org:resource"),
    }


__all__ = ["FULL_LOG", "PROGRAM", "SAMPLE_CASES", "SAMPLE_EVENTS", "SAMPLE_LOG", "exported", "facts", "in_time_order"]
assert sys.version_info >= (3, 11)
assert os.access(PROGRAM, os.X_OK), "the console script is not installed beside this Python"
