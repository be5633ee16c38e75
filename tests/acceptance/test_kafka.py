"""The command line on a store in Kafka: nothing is different but the URL."""

from __future__ import annotations

import json

from tests.acceptance.conftest import SAMPLE_CASES, SAMPLE_EVENTS, SAMPLE_LOG, Run


def test_a_log_is_imported_read_and_verified(run: Run, kafka_store_url: str) -> None:
    assert "there is no store" in run("info", kafka_store_url, code=1).stderr
    for _ in range(2):
        run("import", SAMPLE_LOG, "--into", kafka_store_url, "--category", "loan")
    info = json.loads(run("info", kafka_store_url, "--json").stdout)
    assert (info["head"], info["backend"]) == (SAMPLE_EVENTS, "kafka")
    elsewhere = kafka_store_url.partition("?")[0]
    events = [json.loads(line) for line in run("read", elsewhere, "loan-173688", "--json").stdout.splitlines()]
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    assert f"{SAMPLE_EVENTS:,} events in {SAMPLE_CASES} streams" in run("verify", elsewhere).stdout
    said = run("doctor", kafka_store_url).stdout
    assert "min.insync.replicas=2" in said
