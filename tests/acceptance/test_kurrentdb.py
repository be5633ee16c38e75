"""The command line on a store in KurrentDB, and a server that it starts: nothing is different but the URL."""

from __future__ import annotations

import json
from pathlib import Path

from kurrentdbclient import KurrentDBClient, NewEvent, StreamState

from headwater.testing.serving import ServerProcess
from tests.acceptance.conftest import SAMPLE_CASES, SAMPLE_EVENTS, SAMPLE_LOG, Run
from tests.services.kurrentdb import Serve


def test_a_log_is_imported_read_and_verified(run: Run, tmp_path: Path, serve: Serve) -> None:
    url = serve(f"sqlite:///{tmp_path}/server.db")
    assert "holds no store" in run("info", url, code=1).stderr
    for _ in range(2):
        run("import", SAMPLE_LOG, "--into", url, "--category", "loan")
    info = json.loads(run("info", url, "--json").stdout)
    assert (info["streams"], info["backend"]) == (SAMPLE_CASES, "kurrentdb")
    events = [json.loads(line) for line in run("read", url, "loan-173688", "--json").stdout.splitlines()]
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    assert f"{SAMPLE_EVENTS:,} events in {SAMPLE_CASES} streams" in run("verify", url).stdout
    said = run("doctor", url).stdout
    assert "no other node has a copy" in said
    assert "it has everything up to position" in said


def test_what_headwater_has_written_is_served(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/loans.db"
    run("import", SAMPLE_LOG, "--into", url, "--category", "loan")
    with ServerProcess(url) as server, KurrentDBClient(server.url) as client:
        events = client.get_stream("loan-173688")
        assert events[0].type == "A_SUBMITTED"
        assert json.loads(events[0].data)["case"]["AMOUNT_REQ"] == "20000"
        assert sum(1 for _ in client.read_all()) == SAMPLE_EVENTS
        client.append_to_stream("loan-1", current_version=StreamState.NO_STREAM, events=NewEvent("A", data=b"{}"))
        assert '"type":"A"' in run("read", url, "loan-1", "--json").stdout


def test_what_can_not_be_served(run: Run, tmp_path: Path) -> None:
    said = run("serve", "memory:", "--host", "0.0.0.0", code=1).stderr
    assert "--insecure" in said
    said = run("serve", "memory:", "--users", tmp_path / "nobody", code=1).stderr
    assert "the file of users can't be read" in said
