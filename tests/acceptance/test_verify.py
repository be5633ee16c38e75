"""Verification finds what was done to a store behind its back."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tests.acceptance.conftest import SAMPLE_EVENTS, Run

DAMAGES = {
    "a version is missing": (
        "delete from events where stream = 'loan-173688' and version = 5",
        {"version"},
        "version 6 comes after version 4",
    ),
    "a version is another": (
        "update events set version = 60 where stream = 'loan-173688' and version = 26",
        {"version"},
        "version 60 comes after version 25",
    ),
    "an id stands twice": (
        "drop index events_by_id; update events set id = (select id from events where position = 1) where position = 9",
        {"id"},
        "stands already at position 1",
    ),
    "data is cut": (
        "update events set data = substr(data, 1, 20) where position = 12",
        {"data"},
        "its data can't be decoded",
    ),
    "metadata is no JSON": (
        "update events set metadata = '{by' where position = 12",
        {"data"},
        "its metadata can't be decoded",
    ),
    "a stream is not listed": (
        "delete from streams where name = 'loan-173691'",
        {"head"},
        "the stream is not listed, but its last event has version 39",
    ),
    "the tags are gone from their index": ("delete from event_tags", {"index"}, "it is not found by its tag"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_found_out(run: Run, imported: str, tmp_path: Path, damage: str) -> None:
    script, kinds, says = DAMAGES[damage]
    _damage(tmp_path / "loans.db", script)
    found = json.loads(run("verify", imported, "--json", code=1).stdout)
    assert found["found"] > 0
    assert {each["kind"] for each in found["findings"]} == kinds
    assert any(says in each["problem"] for each in found["findings"])
    assert all(each["position"] for each in found["findings"])
    text = " ".join(run("verify", imported, code=1).stdout.split())
    assert "findings in" in text


def test_a_stream_that_points_to_another_is_found_out(run: Run, imported: str, tmp_path: Path) -> None:
    number = "(select number from streams where name = 'loan-173688')"
    _damage(tmp_path / "loans.db", f"update streams set number = {number} where name = 'loan-173691'")
    found = json.loads(run("verify", imported, "--json", code=1).stdout)
    assert {"head"} <= {each["kind"] for each in found["findings"]} <= {"head", "index"}
    assert "loan-173691" in {each["stream"] for each in found["findings"]}


def test_a_file_with_torn_pages_is_found_out(run: Run, imported: str, tmp_path: Path) -> None:
    file = tmp_path / "loans.db"
    content = bytearray(file.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 40960] = b"\xa5" * 40960
    file.write_bytes(content)
    refused = run("verify", imported, code=1)
    assert "damaged" in refused.stdout + refused.stderr or "malformed" in refused.stdout + refused.stderr


def test_a_sound_store_is_found_sound(run: Run, imported: str) -> None:
    sound = json.loads(run("verify", imported, "--json").stdout)
    assert sound == {"events": SAMPLE_EVENTS, "streams": 100, "head": SAMPLE_EVENTS, "found": 0, "findings": []}
    assert run("verify", imported).stdout == "All is well: 2,185 events in 100 streams, up to position 2,185.\n"


def _damage(file: Path, script: str) -> None:
    with sqlite3.connect(file) as connection:
        triggers = connection.execute("select name from sqlite_schema where type = 'trigger'").fetchall()
        for (name,) in triggers:
            connection.execute(f'drop trigger "{name}"')
        for statement in script.split(";"):
            connection.execute(statement)
    connection.close()


def test_only_what_is_restored_in_parts_is_repaired(run: Run, imported: str) -> None:
    assert "restored whole" in run("verify", "--repair", imported, code=1).stderr
