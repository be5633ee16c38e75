"""The command line on a Marten application's store: nothing is different but the URL."""

from __future__ import annotations

import json

import psycopg

from tests.acceptance.conftest import SAMPLE_CASES, SAMPLE_EVENTS, SAMPLE_LOG, Run
from tests.services.marten import MakeSchema


def test_a_log_is_imported_read_and_verified(run: Run, marten_schema: MakeSchema) -> None:
    application = marten_schema(identity="string")
    url, reading = application.url(), application.url(append="no")
    for _ in range(2):
        run("import", SAMPLE_LOG, "--into", url, "--category", "loan")
    info = json.loads(run("info", reading, "--json").stdout)
    assert (info["head"], info["backend"]) == (SAMPLE_EVENTS, "marten")
    events = [json.loads(line) for line in run("read", reading, "loan-173688", "--json").stdout.splitlines()]
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "A_SUBMITTED"
    assert f"{SAMPLE_EVENTS:,} events in {SAMPLE_CASES} streams" in run("verify", reading).stdout
    told = " ".join(run("doctor", url).stdout.split())
    assert "streams named by string; one tenant; binary payloads" in told
    assert "inline projection" in told
    refused = run("append", reading, "loan-173688", "--type", "NoteTaken", "--data", "{}", code=1).stderr
    assert "append=NoteTaken" in " ".join(refused.split())


def test_no_application_and_none_that_is_known(run: Run, marten_database: str) -> None:
    joint = "&" if "?" in marten_database else "?"
    refused = run("info", f"marten+{marten_database}{joint}schema=nobody", code=1).stderr
    assert "headwater schema marten" in " ".join(refused.split())


def test_a_schema_is_printed(run: Run, marten_database: str, marten_schema: MakeSchema) -> None:
    application = marten_schema()  # whose name is then free, and is dropped
    with psycopg.connect(marten_database, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {application.schema} CASCADE".encode())
        said = ("--schema", application.schema, "--identity", "string", "--column", "headers", "--conjoined")
        connection.execute(run("schema", "marten", *said).stdout.encode())
    info = json.loads(run("info", application.url(tenant="north"), "--json").stdout)
    assert (info["head"], info["backend"]) == (0, "marten")
    assert "are Marten's" in run("schema", "sqlite", "--identity", "guid", code=2).stderr
