"""What all benchmarks share: a real event, repeated and interleaved timing, and the table that they print."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import headwater as hw

LOAN = {
    "activity": "A_SUBMITTED",
    "lifecycle": "COMPLETE",
    "resource": "112",
    "amount_requested": 20000,
    "registered": "2011-10-01T00:38:44.546+02:00",
    "occurred": "2011-10-01T00:38:44.546+02:00",
    "case": "173688",
}
"""The first event of the first loan application of BPI Challenge 2012: about 200 bytes of JSON."""


def loan_event(*tags: str, type: str = "A_SUBMITTED") -> hw.NewEvent:
    """A new event with that data."""
    return hw.NewEvent(type, LOAN, tags=tags)


class Comparison(NamedTuple):
    """One claim: what was done, how fast we and the other did it, and what the claim asks for."""

    case: str
    ours: float
    other: float
    against: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def ratio(self) -> float:
        return self.ours / self.other

    @property
    def kept(self) -> bool:
        return (self.at_least is None or self.ratio >= self.at_least) and (
            self.at_most is None or self.ratio <= self.at_most
        )

    def line(self) -> str:
        wanted = f"≥ {self.at_least:g}" if self.at_least is not None else ""
        wanted = f"≤ {self.at_most:g}" if self.at_most is not None else wanted or "–"
        verdict = "" if wanted == "–" else "yes" if self.kept else "no"
        return (
            f"| {self.case} | {self.ours:,.0f} | {self.other:,.0f} | {self.against} "
            f"| {self.ratio:.2f} | {wanted} | {verdict} |"
        )


HEADER = "| case | Headwater | other | what the other is | ratio | wanted | kept |\n|---|---:|---:|---|---:|---|---|"


def alternate(repeats: int, *measures: Callable[[], float]) -> list[float]:
    """The medians of several measures, taken in turns so that a busy moment hits them all alike."""
    taken: list[list[float]] = [[] for _ in measures]
    for _ in range(repeats):
        for measure, results in zip(measures, taken, strict=True):
            results.append(measure())
    return [statistics.median(results) for results in taken]


def rate(count: int, work: Callable[[], object]) -> float:
    """How many a second, when ``work`` does ``count``."""
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def durable_writes(folder: Path, count: int = 2_000) -> float:
    """The disk's own rate: records of 200 bytes appended to a file, each made durable with fdatasync, a second."""
    with open(folder / "durable", "wb", buffering=0) as file:

        def write() -> None:
            for _ in range(count):
                file.write(b"x" * 200)
                os.fdatasync(file.fileno())

        return rate(count, write)


def workspace() -> tempfile.TemporaryDirectory[str]:
    """A folder for the stores of one run, on the disk that the benchmark is about (``BENCH_DIR``, else here)."""
    return tempfile.TemporaryDirectory(prefix="headwater-bench-", dir=os.environ.get("BENCH_DIR", "."))


def show(title: str, comparisons: list[Comparison]) -> None:
    """Print the table; with ``--json FILE``, add the figures to that file too."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    options, _ = parser.parse_known_args()
    print(f"\n## {title}\n\n{HEADER}")
    for comparison in comparisons:
        print(comparison.line(), flush=True)
    if options.json:
        known = json.loads(options.json.read_text()) if options.json.exists() else {}
        known[title] = [comparison._asdict() for comparison in comparisons]
        options.json.write_text(json.dumps(known, indent=1))
