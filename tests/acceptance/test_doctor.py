"""Doctor by the command line."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from datetime import timedelta
from pathlib import Path

import headwater as hw
from headwater.subscriptions import Retry
from tests.acceptance.conftest import Run

URL = "sqlite:///loans.db"


def test_in_good_health(run: Run, imported: str) -> None:
    assert "append-only" in run("doctor", imported).stdout
    found = [json.loads(line) for line in run("doctor", imported, "--json").stdout.splitlines()]
    assert {each["state"] for each in found} == {"well"}
    assert "there is no store" in run("doctor", "sqlite:///none.db", code=1).stderr


def test_what_is_wrong_and_what_is_worth_knowing(run: Run, tmp_path: Path) -> None:
    async def fail(event: hw.Event) -> None:
        raise ValueError("no such account")

    async def fill() -> None:
        async with hw.connect(f"sqlite:///{tmp_path}/loans.db") as store:
            await store.append("loan-1", hw.NewEvent("LoanRequested", {}))
            async with store.consumer("letters", fail, retry=Retry(attempts=1)) as letters:
                await letters.wait_for(1)
            await store.append("loan-1", hw.NewEvent("LoanAccepted", {}))
            await store.scheduled.add("loan-2", hw.NewEvent("OfferLapsed", {}), due=timedelta(microseconds=1))
            await store.tombstone_stream("loan-2")
            await store.scheduled.append_due()

    asyncio.run(fill())
    told = " ".join(run("doctor", URL).stdout.split())
    assert "1 events are parked" in told
    assert "1 positions behind, and nobody runs it" in told
    assert "1 appends were refused" in told
    assert "consumer letters: Look at them: headwater parked list URL letters." in told
    with sqlite3.connect(tmp_path / "loans.db") as raw:
        raw.execute("drop trigger event_tags_never_go")
    raw.close()
    assert "run headwater verify" in run("doctor", URL, code=1).stdout
