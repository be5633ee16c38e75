"""Exactly-once effects: a runner is killed (SIGKILL) hundreds of times at random points; every event counts once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import headwater as hw
from headwater.testing.loans import loan
from tests.unit.projections.conftest import rows

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("how", "kills", "loans"), [("build", 160, 120), ("run", 40, 30)])
async def test_every_effect_is_there_once(
    how: str, kills: int, loans: int, into: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = into if into.startswith("postgresql") else f"sqlite:///{tmp_path}/loans.db"
    async with hw.connect(url) as store:
        for number in range(loans):
            await store.append(f"loan-{number}", loan())
        head = await store.head()
    program = [sys.executable, "-m", "tests.unit.projections.killing", url, into, how, str(kills)]
    done = await asyncio.to_thread(subprocess.run, program, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    at_work = int(done.stdout.split()[1])
    assert at_work > kills / 2, "it was killed in the middle of its work"
    events = loans * 26
    assert rows(into, "select count(*), sum(times), max(times) from effects") == [(events, events, 1)]
    assert rows(into, "select count(*), sum(steps), min(steps), max(steps) from steps") == [(loans, events, 26, 26)]
    assert rows(into, "select position, count from headwater_projection_parts") == [(head, events)]
