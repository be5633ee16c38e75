"""The application's side by the command line: types, state, history, why."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from tests.acceptance.conftest import Run
from tests.unit.deciders.loans import CODEC, RULE, STREAM, Approve, Pay, Request

LOANS = Path(__file__).parents[1] / "unit" / "deciders" / "loans.py"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with one loan, whose second instalment follows from its first."""
    url = f"sqlite:///{tmp_path}/loans.db"

    async def fill() -> None:
        async with hw.connect(url) as store:
            loans: hw.Repository[Any, Any] = hw.Repository(store, CODEC, RULE)
            with hw.trace(correlation_id="visit-1"):
                await loans.execute(STREAM, Request("112", 1_000), id="request-1")
                await loans.execute(STREAM, Approve("anna"))
            approved = [event async for event in store.read(STREAM)][-1]
            with hw.trace(causation_id=str(approved.id)):
                await loans.execute(STREAM, Pay(100))
            paid = [event async for event in store.read(STREAM)][-1]
            with hw.trace(causation_id=str(paid.id)):
                await store.append("letter-1", hw.NewEvent("LetterSent", {}))

    asyncio.run(fill())
    return url


def test_state_at_any_moment(run: Run, url: str) -> None:
    now = json.loads(run("state", f"{LOANS}:RULE", url, STREAM).stdout)
    assert now == {"stream": STREAM, "version": 3, "state": {"amount": 1_000, "paid": 100, "approved": True}}
    then = json.loads(run("state", f"{LOANS}:LoanAggregate", url, STREAM, "--at", 1).stdout)
    assert then["state"] == {"amount": 1_000, "paid": 0, "approved": False}
    early = json.loads(run("state", f"{LOANS}:RULE", url, STREAM, "--at", "2011-10-01T00:00").stdout)
    assert early["version"] == 0
    world = json.loads(run("state", f"{LOANS}:RULE", url, STREAM, "--occurred-by", "2011-10-01").stdout)
    assert world["version"] == 0
    assert "is no time" in run("state", f"{LOANS}:RULE", url, STREAM, "--at", "yesterday", code=2).stderr


def test_history(run: Run, url: str) -> None:
    shown = run("history", f"{LOANS}:RULE", url, STREAM).stdout
    assert "amount: 0 -> 1000" in shown
    assert "approved: false -> true" in shown
    lines = [json.loads(line) for line in run("history", f"{LOANS}:RULE", url, STREAM, "--json").stdout.splitlines()]
    assert [each["changed"] for each in lines] == [{"amount": 1_000}, {"approved": True}, {"paid": 100}]


def test_why(run: Run, url: str) -> None:
    shown = run("why", url, 3).stdout.splitlines()
    assert ["LoanApproved" in shown[0], "InstalmentPaid" in shown[1], "LetterSent" in shown[2]] == [True, True, True]
    assert "<- this" in shown[1]
    tree = json.loads(run("why", url, 1, "--json").stdout)
    assert (tree["command"], tree["causes"], tree["effects"]) == ("request-1", [], [])
    deep = json.loads(run("why", url, 2, "--json").stdout)
    assert deep["effects"][0]["effects"][0]["type"] == "LetterSent"
    assert "there is no event 99" in run("why", url, 99, code=1).stderr


def test_types(run: Run, url: str, tmp_path: Path) -> None:
    listed = [json.loads(line) for line in run("types", "list", url, "--json").stdout.splitlines()]
    assert [(each["type"], each["version"], each["shape"]) for each in listed] == [
        ("InstalmentPaid", 1, '{"amount":"integer"}'),
        ("LetterSent", 1, "{}"),
        ("LoanApproved", 1, '{"by":"string"}'),
        ("LoanRequested", 1, '{"amount":"integer","applicant":"string"}'),
    ]
    refused = run("types", "check", f"{LOANS}:CODEC", url, code=1)
    assert "no class is declared" in refused.stdout
    assert "in 4 shapes: 0 unreadable" in run("types", "check", f"{LOANS}:CODEC", url, "--ignore-unknown").stdout
    (tmp_path / "later.py").write_text(LOANS.read_text().replace("    by: str", "    officer: str"))
    check = run("types", "check", "later.py:CODEC", url, "--ignore-unknown", "--json", code=1)
    failed = [json.loads(line) for line in check.stdout.splitlines()]
    assert [(each["type"], each["position"]) for each in failed] == [("LoanApproved", 2)]
    assert "officer" in failed[0]["problem"]
    assert json.loads(run("types", "schema", f"{LOANS}:CODEC").stdout)["$defs"].keys() == CODEC.types.keys()


def test_replay_decisions(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/recorded.db"
    rules = tmp_path / "rules.py"
    shutil.copy(LOANS, tmp_path)
    rules.write_text(
        "import headwater as hw\n"
        "from loans import *\n"
        "COMMANDS = hw.Commands({'RequestLoan': Request, 'PayInstalment': Pay})\n"
        "def stricter(command, loan):\n"
        "    if isinstance(command, Pay):\n"
        "        raise Refused('the till is closed')\n"
        "    return decide(command, loan)\n"
        "STRICTER = hw.Decider(Loan(), stricter, evolve, name='loan')\n"
    )

    async def fill() -> None:
        async with hw.connect(url) as store:
            commands = hw.Commands({"RequestLoan": Request, "PayInstalment": Pay})
            loans: hw.Repository[Any, Any] = hw.Repository(store, CODEC, RULE, commands=commands)
            for number in range(3):
                await loans.execute(f"loan-{number}", Request("112", 1_000))
                await loans.execute(f"loan-{number}", Pay(100))
            await store.append("other-1", hw.NewEvent("LetterSent", {}))
            await store.set_policy("loan-2", truncate_before=2)

    asyncio.run(fill())
    same = run("replay-decisions", f"{rules}:RULE", url, "--category", "loan").stdout
    assert "4 commands in 3 streams decided again: 0 differently." in same
    assert "1 streams were passed over" in same
    told = run("replay-decisions", f"{rules}:STRICTER", url, "--limit", 1, code=1).stdout
    assert 'loan-0@2  PayInstalment\n  - InstalmentPaid {"amount":100}\n  + Refused: the till is closed' in told
    assert "2 differently, the first 1 shown." in told
    lines = run("replay-decisions", f"{rules}:STRICTER", url, "--json", code=1).stdout.splitlines()
    assert [json.loads(line)["stream"] for line in lines] == ["loan-0", "loan-1"]
    assert "no Decider or Aggregate 'NONE'" in _flat(run("replay-decisions", f"{rules}:NONE", url, code=2).stderr)
    assert "--commands" in _flat(run("replay-decisions", f"{LOANS}:RULE", url, code=2).stderr)


def _flat(text: str) -> str:
    return " ".join(text.replace("│", " ").split())
