"""Personal data by the command line: forgetting a person, and what remains of them."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest

import headwater as hw
from tests.acceptance.conftest import Run
from tests.unit.personal import people
from tests.unit.personal.people import ADA, CODEC, RULE, STREAM, Paid, Requested

PEOPLE = Path(people.__file__)
VIEW = """
import headwater as hw

class Names(hw.Projection):
    name = "names"
    tables = "create table {names} (stream text primary key, name text not null)"

    @hw.handles("LoanRequested")
    def requested(self, event, view):
        view.execute("insert into {names} values (:s, :n)", {"s": event.stream, "n": event.data["name"]})

class NamesAgain(Names):
    version = 2
"""
URL, VAULT = "sqlite:///loans.db", "sqlite:///keys.db"


@pytest.fixture(autouse=True)
def _filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store with an applicant's data: sealed in an event, in a snapshot, and as it was before there was a vault."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "views.py").write_text(VIEW)

    async def fill() -> None:
        async with hw.connect(URL) as store:
            await store.append(
                "loan-1", hw.NewEvent("LoanRequested", {"applicant": "112", "name": "A. L.", "amount": 1})
            )
        async with hw.connect(URL, vault=VAULT) as store:
            loans = hw.Repository(store, CODEC, RULE, snapshots=hw.SnapshotEvery(events=2))
            await loans.execute(STREAM, ADA)
            await loans.execute(STREAM, Paid(10))
            await loans.load(STREAM)
            await loans.settle()
            await store.append("loan-2", CODEC.encode(Requested("113", "Bea", 1)))
            await store.append("loan-3", hw.NewEvent("LetterSent", {}, tags=["applicant:112"]))

    asyncio.run(fill())


def where(run: Run, *options: str, code: int = 0) -> list[tuple[str, str, int, str]]:
    lines = run("subjects", "where", URL, 112, "--vault", VAULT, "--json", *options, code=code).stdout.splitlines()
    found = [json.loads(line) for line in lines]
    return [(each["place"], each["name"], each["position"], each["found"]) for each in found]


def test_forget_and_what_remains(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert where(run, code=1) == [
        ("event", "loan-1", 1, "id"),
        ("event", STREAM, 2, "readable"),
        ("event", "loan-3", 5, "id"),
        ("snapshot", f"loan:{STREAM}", 0, "readable"),
    ]
    monkeypatch.setenv("HEADWATER_VAULT", VAULT)
    run("projections", "run", "views.py:Names", URL, "--into", "sqlite:///views.db", "--once")
    state = f"{PEOPLE}:RULE", URL, STREAM
    assert json.loads(run("state", *state).stdout)["state"]["name"] == "Ada Lovelace"
    assert "Aborted" in run("forget", URL, 112, given="n\n", code=1).stderr
    told = run("forget", URL, 112, "--yes").stdout
    assert "was destroyed at" in told
    assert "Rebuild the read models" in told
    assert where(run, "--codec", f"{PEOPLE}:CODEC", code=1) == [
        ("event", "loan-1", 1, "clear"),
        ("event", STREAM, 2, "destroyed"),
        ("event", "loan-3", 5, "id"),
        ("snapshot", f"loan:{STREAM}", 0, "destroyed"),
    ]
    assert json.loads(run("state", *state).stdout)["state"] == {"name": "(forgotten)", "paid": 10}
    again = "views.py:NamesAgain", URL, "--into", "sqlite:///views.db"
    run("projections", "rebuild", *again)
    run("projections", "switch", *again)
    run("projections", "drop", "names", URL, "--into", "sqlite:///views.db", "--version", 1)
    with sqlite3.connect("views.db") as views:
        names = {name for (name,) in views.execute("select name from names").fetchall()}
    views.close()
    assert names == {"A. L.", "(forgotten)", "Bea"}
    shown = run("subjects", "where", URL, 112).stdout
    assert "A key of 112 was destroyed at" in shown
    assert "destroyed" in shown


def test_who_is_known(run: Run) -> None:
    listed = [json.loads(line) for line in run("subjects", "list", URL, "--vault", VAULT, "--json").stdout.splitlines()]
    assert [(each["subject"], each["key"], each["forgotten_at"]) for each in listed] == [
        ("112", True, []),
        ("113", True, []),
    ]
    forgotten = json.loads(run("forget", URL, 113, "--vault", VAULT, "--yes", "--json").stdout)
    assert forgotten["subject"] == "113"
    assert "113" in run("subjects", "list", URL, "--vault", VAULT).stdout
    assert "nothing was ever sealed" in run("forget", URL, 999, "--vault", VAULT, "--yes").stdout
    assert json.loads(run("forget", URL, 999, "--vault", VAULT, "--yes", "--json").stdout) is None


def test_wrong_usage(run: Run) -> None:
    assert "--vault" in run("forget", URL, 112, "--yes", code=2).stderr
    assert (
        "there is no store at nokeys.db"
        in run("forget", URL, 112, "--vault", "sqlite:///nokeys.db", "--yes", code=1).stderr
    )
    assert not Path("nokeys.db").exists()


def test_keys_that_are_wrapped(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "keys_of_ours.py").write_text("from headwater.personal import MasterKey\nKEY = MasterKey(bytes(32))\n")
    from headwater.personal import MasterKey

    async def fill() -> None:
        async with hw.connect("sqlite:///w.db", vault="sqlite:///wk.db", wrapper=MasterKey(bytes(32))) as store:
            await store.append(STREAM, CODEC.encode(ADA))

    asyncio.run(fill())
    monkeypatch.setenv("HEADWATER_VAULT", "sqlite:///wk.db")
    state = "state", f"{PEOPLE}:RULE", "sqlite:///w.db", STREAM
    assert "wrapped by 'master'" in run(*state, code=1).stderr
    monkeypatch.setenv("HEADWATER_MASTER_KEY", "A" * 43 + "=")
    assert "Ada" in run(*state).stdout
    monkeypatch.delenv("HEADWATER_MASTER_KEY")
    monkeypatch.setenv("HEADWATER_KEY_WRAPPER", "keys_of_ours.py:KEY")
    assert "Ada" in run(*state).stdout
    monkeypatch.setenv("HEADWATER_KEY_WRAPPER", "keys_of_ours.py:NONE")
    refused = " ".join(run(*state, code=2).stderr.replace("│", " ").split())
    assert "has no KeyWrapper 'NONE'" in refused
