"""The command line on a store in DynamoDB: nothing is different but the URL."""

from __future__ import annotations

import json
from itertools import islice

from tests.acceptance.conftest import SAMPLE_CASES, SAMPLE_EVENTS, SAMPLE_LOG, Run


def test_a_log_is_imported_read_and_verified(run: Run, dynamodb_url: str) -> None:
    assert "create=no" in run("info", dynamodb_url, code=1).stderr
    for _ in range(2):
        run("import", SAMPLE_LOG, "--into", dynamodb_url, "--category", "loan")
    info = json.loads(run("info", dynamodb_url, "--json").stdout)
    assert (info["head"], info["backend"]) == (SAMPLE_EVENTS, "dynamodb")
    events = [json.loads(line) for line in run("read", dynamodb_url, "loan-173688", "--json").stdout.splitlines()]
    assert [event["version"] for event in events] == list(range(1, 27))
    assert f"{SAMPLE_EVENTS:,} events in {SAMPLE_CASES} streams" in run("verify", "--repair", dynamodb_url).stdout
    run("doctor", dynamodb_url)


def test_events_of_a_type_are_found(run: Run, dynamodb_url: str) -> None:
    run("import", SAMPLE_LOG, "--into", dynamodb_url, "--category", "loan")
    found = run("log", dynamodb_url, "--type", "A_APPROVED", "--json").stdout.splitlines()
    assert {json.loads(line)["type"] for line in islice(found, 50)} == {"A_APPROVED"}
