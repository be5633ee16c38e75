"""Consumers, parked events and scheduled appends by the command line, as the person on duty uses it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater import sync
from headwater.testing.loans import CASE, loan
from tests.acceptance.conftest import SAMPLE_EVENTS, Run

EXAMPLE = Path(__file__).parents[2] / "examples" / "case_times.py"
EVENTS = 26
APPROVED = 23
"""Position of the event that billing can't handle: A_APPROVED."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store with one loan application. Commands run in the folder of its file."""
    if request.param == "sqlite":
        found = "sqlite:///loans.db"
        absolute = f"sqlite:///{tmp_path}/loans.db"
    else:
        found = absolute = request.getfixturevalue("postgres_schema_url")
    with sync.connect(absolute) as store:
        store.append(CASE, loan(EVENTS))
    return found


@pytest.fixture
def absolute(url: str, tmp_path: Path) -> str:
    """The same store for this process, which runs elsewhere."""
    return url.replace("sqlite:///", f"sqlite:///{tmp_path}/")


@pytest.fixture
def billed(absolute: str) -> str:
    """The URL of the store after a consumer has been through, which could not bill the approved application."""
    follow(absolute, "billing", bill)
    return absolute


def bill(event: hw.Event) -> None:
    if event.type == "A_APPROVED":
        raise ConnectionError("the ledger does not answer")


def follow(url: str, name: str, handler: Callable[[hw.Event], None]) -> None:
    """Run a consumer until it has handled what is there."""
    with sync.connect(url) as store:
        consumer = store.consumer(name, handler, retry=hw.Retry(attempts=2, first=0.001))
        with consumer:
            consumer.wait_for(store.head())


def listed(run: Run, *command: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*command, "--json").stdout.splitlines()]


def test_how_far_consumers_are(run: Run, url: str, billed: str) -> None:
    (info,) = listed(run, "consumers", "list", url)
    head = info["position"] + info["behind"]
    assert (info["name"], info["kind"], info["behind"], info["parked"]) == ("billing", "consumer", 0, 1)
    assert "the ledger does not answer" in info["error"]
    with sync.connect(billed) as store:
        assert store.head() == head
        store.append(CASE, loan(1))
        assert store.consumers.info("billing").behind == 1
    (info,) = listed(run, "consumers", "list", url)
    assert info["behind"] >= 1
    assert 0 < info["behind_seconds"] < 60
    shown = run("consumers", "list", url).stdout
    assert "billing" in shown
    assert "last error at position" in shown
    assert "the ledger does not answer" in shown


def test_an_audit(run: Run, url: str, billed: str) -> None:
    assert "All is well" in run("consumers", "audit", url).stdout
    follow(billed, "offers", lambda event: None)
    tamper(billed, "offers")
    (done,) = listed(run, "consumers", "audit", url, "billing")
    assert (done["delivered"], done["missed"], done["doubled"], done["reversed"]) == (EVENTS, 0, 0, 0)
    assert done["parked"] == 1
    shown = run("consumers", "audit", url, code=1).stdout
    assert "Not as it should be: offers." in shown
    audits = run("consumers", "audit", url, "--json", code=1).stdout.splitlines()
    assert [(each["consumer"], each["missed"]) for each in map(json.loads, audits)] == [("billing", 0), ("offers", 1)]


def tamper(url: str, name: str) -> None:
    """Let the consumer's account be one event short, as if that had never been delivered."""
    import asyncio

    import msgspec

    from headwater.backend import RecordChange
    from headwater.subscriptions.states import PartState, decoded, encoded, part_name

    async def change() -> None:
        async with hw.connect(url) as store:
            (record,) = await store._backend.load_records(part_name(name, 0))
            state = decoded(record, PartState)
            progress = msgspec.structs.replace(state.progress, count=state.progress.count - 1)
            value = encoded(msgspec.structs.replace(state, progress=progress))
            await store._backend.save_records([RecordChange(record.name, value, record.revision)])

    asyncio.run(change())


def test_what_python_must_audit(run: Run, billed: str, url: str) -> None:
    """A consumer dealt out by a function is told apart; the others are audited all the same."""
    with sync.connect(billed) as store:
        amounts = store.consumer("amounts", lambda event: None, partitions=2, partition_by=lambda event: event.type)
        with amounts:
            amounts.wait_for(store.head())
    done = run("consumers", "audit", url, "--json", code=1)
    assert [json.loads(line)["consumer"] for line in done.stdout.splitlines()] == ["billing"]
    assert "Audit it in Python" in done.stderr


def test_pause_and_resume(run: Run, url: str, billed: str) -> None:
    assert "billing is paused" in run("consumers", "pause", url, "billing").stdout
    assert "consumer, paused" in run("consumers", "list", url).stdout
    with sync.connect(billed) as store:
        done = store.append(CASE, loan(1))
        consumer = store.consumer("billing", bill, lease=0.4)
        with consumer:
            with pytest.raises(hw.NotCaughtUp):
                consumer.wait_for(done, timeout=0.5)
            run("consumers", "resume", url, "billing")
            consumer.wait_for(done)


def test_rewind(run: Run, url: str, billed: str) -> None:
    assert "goes on behind position 20" in run("consumers", "rewind", url, "billing", "--to", 20).stdout
    seen: list[str] = []
    follow(billed, "billing", lambda event: seen.append(event.type))
    with sync.connect(billed) as store:
        assert seen == [event.type for event in store.read_all(after=20)]
        beyond = store.head() + 1
    assert "beyond the log's end" in run("consumers", "rewind", url, "billing", "--to", beyond, code=1).stderr
    run("consumers", "rewind", url, "billing", code=2)


def test_drop(run: Run, url: str, billed: str) -> None:
    dropped = run("consumers", "drop", url, "billing").stdout
    assert "billing is dropped" in dropped
    assert "1 parked" in dropped
    assert listed(run, "consumers", "list", url) == []
    assert listed(run, "parked", "list", url) == []


@pytest.mark.parametrize(
    "command",
    [
        ("consumers", "audit"),
        ("consumers", "pause"),
        ("consumers", "drop"),
        ("parked", "list"),
        ("parked", "replay", "--all"),
        ("parked", "drop", "--all"),
    ],
)
def test_no_such_consumer(run: Run, imported: str, command: tuple[str, ...]) -> None:
    refused = run(*command[:2], imported, "bills", *command[2:], code=1).stderr
    assert "'bills' does not exist in this store" in refused
    assert len(refused.splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    [
        ("consumers", "list"),
        ("consumers", "drop", "billing"),
        ("parked", "drop", "billing", "--all"),
        ("scheduled", "run", "--once"),
    ],
)
def test_no_store_is_made(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    group, verb, *rest = command
    assert "there is no store at" in run(group, verb, "sqlite:///loan.db", *rest, code=1).stderr
    assert not (tmp_path / "loan.db").exists()


def test_parked_events(run: Run, url: str, billed: str) -> None:
    (parked,) = listed(run, "parked", "list", url)
    assert (parked["consumer"], parked["type"], parked["stream"]) == ("billing", "A_APPROVED", CASE)
    assert parked["attempts"] == 2
    position = parked["position"]
    shown = run("parked", "show", url, "billing", position).stdout
    assert f"{CASE}@{APPROVED}" in shown
    assert "ConnectionError: the ledger does not answer" in shown
    assert "after 2 attempts" in shown
    (facts,) = listed(run, "parked", "show", url, "billing", str(position))
    assert facts["event"]["data"] == {"case": CASE, "resource": "10629"}
    assert facts["event"]["id"] == facts["id"]
    assert "no parked event at position 1" in run("parked", "show", url, "billing", 1, code=1).stderr

    run("parked", "replay", url, "billing", code=2)
    run("parked", "replay", url, "billing", position, "--all", code=2)
    assert "nobody runs it now" in run("parked", "replay", url, "billing", position).stdout
    assert "(to be tried again)" in run("parked", "list", url, "billing").stdout
    seen: list[str] = []
    with sync.connect(billed) as store:
        done = store.append(CASE, loan(1))
        consumer = store.consumer("billing", lambda event: seen.append(event.type), lease=0.4)
        with consumer:
            consumer.wait_for(done)
            while list(store.parked("billing").all()):
                pass
    assert sorted(seen) == ["A_APPROVED", "A_SUBMITTED"]


def test_giving_parked_events_up(run: Run, url: str, billed: str) -> None:
    run("parked", "drop", url, "billing", code=2)
    assert "no parked event at position 1" in run("parked", "drop", url, "billing", 1, code=1).stderr
    assert "1 parked event of billing given up" in run("parked", "drop", url, "billing", "--all").stdout
    assert listed(run, "parked", "list", url, "billing") == []
    assert "0 parked events" in run("parked", "drop", url, "billing", "--all").stdout


def test_scheduled_appends(run: Run, url: str, absolute: str) -> None:
    with sync.connect(absolute) as store:
        due = store.scheduled.add(CASE, hw.NewEvent("O_CANCELLED", {}), due=timedelta(0))
        later = store.scheduled.add(CASE, hw.NewEvent("A_CANCELLED", {}), due=datetime(2031, 10, 1, tzinfo=UTC))
    first, second = listed(run, "scheduled", "list", url)
    assert (first["id"], first["types"]) == (due.id, ["O_CANCELLED"])
    assert (second["id"], second["stream"], second["due_at"]) == (later.id, CASE, "2031-10-01T00:00:00Z")
    assert "2031-10-01 00:00:00" in run("scheduled", "list", url).stdout
    assert "1 scheduled append was due" in run("scheduled", "run", url, "--once").stdout
    with sync.connect(absolute) as store:
        assert [event.type for event in store.read(CASE, after=EVENTS)] == ["O_CANCELLED"]
    assert "is cancelled" in run("scheduled", "cancel", url, later.id).stdout
    assert "nothing is scheduled" in run("scheduled", "cancel", url, later.id, code=1).stderr
    assert "nothing is scheduled" in run("scheduled", "cancel", url, uuid.uuid4(), code=1).stderr
    assert "not-an-id" in run("scheduled", "cancel", url, "not-an-id", code=1).stderr
    assert listed(run, "scheduled", "list", url) == []


def test_what_was_refused_when_it_was_due(run: Run, url: str, absolute: str) -> None:
    with sync.connect(absolute) as store:
        each = store.scheduled.add(CASE, hw.NewEvent("O_CANCELLED", {}), due=timedelta(0))
        store.tombstone_stream(CASE)
    assert "0 scheduled appends were due" in run("scheduled", "run", url, "--once").stdout
    (refused,) = listed(run, "scheduled", "list", url)
    assert refused["error"].startswith("StreamDeleted")
    run("scheduled", "cancel", url, each.id)
    assert listed(run, "scheduled", "list", url) == []


def test_a_projection_is_listed_and_audited_but_not_rewound(
    run: Run, start: Callable[..., subprocess.Popen[bytes]], imported: str
) -> None:
    runner = start("projections", "run", f"{EXAMPLE}:CaseTimes", imported, "--into", "sqlite:///times.db")
    try:
        assert runner.stderr is not None
        runner.stderr.readline()
        deadline = time.monotonic() + 60
        while not (found := listed(run, "consumers", "list", imported)) or found[0]["behind"]:
            assert time.monotonic() < deadline
        assert (found[0]["kind"], found[0]["members"], len(found)) == ("projection", 1, 1)
        refused = run("consumers", "rewind", imported, found[0]["name"], "--to", 0, code=1).stderr
        assert "keeps its place beside its rows" in refused
    finally:
        runner.send_signal(signal.SIGTERM)
        runner.communicate(timeout=30)
    (done,) = listed(run, "consumers", "audit", imported)
    assert done["delivered"] == SAMPLE_EVENTS


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_running_the_schedule(
    start: Callable[..., subprocess.Popen[bytes]], imported: str, tmp_path: Path, how: signal.Signals
) -> None:
    runner = start("scheduled", "run", imported)
    try:
        assert runner.stderr is not None
        assert b"until Ctrl-C" in runner.stderr.readline()
        with sync.connect(f"sqlite:///{tmp_path}/loans.db") as store:
            head = store.head()
            store.scheduled.add(CASE, hw.NewEvent("O_CANCELLED", {}), due=timedelta(seconds=0.1))
            assert next(store.subscribe(after=head)).type == "O_CANCELLED"
    finally:
        runner.send_signal(how)
        _, said = runner.communicate(timeout=30)
    assert (runner.returncode, said) == (0, b"")
