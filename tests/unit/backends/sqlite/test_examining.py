"""The file below a store: what is well, and each thing that can be wrong with it."""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from pathlib import Path

import pytest

import headwater as hw
from headwater import sync
from headwater.backends.sqlite import examining

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with sync.connect(f"sqlite:///{tmp_path}/loans.db") as store:
        store.append("loan-173688", hw.NewEvent("LoanRequested", {"amount": 20000}, tags=["applicant:112"]))
    return tmp_path / "loans.db"


def states(file: Path) -> dict[str, str]:
    with sync.connect(f"sqlite:///{file}?mode=ro") as store:
        return {each.subject: each.state for each in store.examine()}


def test_a_file_in_good_health(file: Path) -> None:
    found = states(file)
    assert set(found) == {
        "library",
        "durability",
        "structure",
        "append-only",
        "write-ahead log",
        "room",
        "disk",
    }
    assert set(found.values()) == {"well"}


def test_triggers_that_are_gone(file: Path) -> None:
    with sqlite3.connect(file) as raw:
        raw.execute("drop trigger events_never_go")
    raw.close()
    assert states(file)["append-only"] == "wrong"


def test_another_journal(file: Path) -> None:
    with sqlite3.connect(file) as raw:
        assert raw.execute("pragma journal_mode = delete").fetchone() == ("delete",)
    raw.close()
    with sqlite3.connect(file) as raw:
        assert examining._journal(raw).state == "wrong"
    raw.close()


def test_pages_that_are_damaged(file: Path) -> None:
    with sync.connect(f"sqlite:///{file}") as store:
        for number in range(200):
            store.append(f"loan-{number}", hw.NewEvent("LoanRequested", {"amount": number}))
    raw = sqlite3.connect(file)
    raw.execute("pragma wal_checkpoint(truncate)")
    ((root,),) = raw.execute("select rootpage from sqlite_schema where name = 'events'").fetchall()
    (size,) = raw.execute("pragma page_size").fetchone()
    raw.close()
    content = bytearray(file.read_bytes())
    content[(root - 1) * size + 8 : (root - 1) * size + 24] = b"\xff" * 16
    file.write_bytes(content)
    with sqlite3.connect(file) as damaged:
        assert examining._pages(damaged).state == "wrong"
    damaged.close()


def test_a_disk_that_is_full_or_far_away(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.backends.sqlite.examining.shutil.disk_usage", lambda _: Usage(10, 9, 1))
    monkeypatch.setattr("headwater.backends.sqlite.examining.WAL_BYTES", -1)
    found = states(file)
    assert (found["room"], found["write-ahead log"]) == ("note", "note")
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"/dev/vda / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\nserver:/y {tmp_path}/other ext4 rw 0 0\n"
    )
    assert examining._kind_of_disk(file, mounts) == "nfs4"
    assert examining._kind_of_disk(Path("/somewhere"), mounts) == "ext4"
    assert examining._kind_of_disk(file, tmp_path / "none") == ""
    monkeypatch.setattr("headwater.backends.sqlite.examining._kind_of_disk", lambda _: "nfs4")
    assert states(file)["disk"] == "wrong"
