"""The file: what it is opened as, and what happens when it can't be written. Nothing is ever lost by a refusal."""

from __future__ import annotations

import contextlib
import os
import resource
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import pytest

import headwater as hw
from headwater import sync
from headwater.backend import RecordChange
from headwater.waiting import step

REQUESTED = hw.NewEvent("LoanRequested", {"amount": 20000}, tags=["applicant:112"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "loans.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


def direct(path: Path, *statements: str) -> None:
    """Change the file behind the store's back."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("sqlite:", "names no file"),
        ("sqlite://", "names no file"),
        ("sqlite://host/loans.db", "names no file"),
        ("sqlite:///:memory:", "no file"),
        ("sqlite:///loans.db?journal=off", "'journal' is not known"),
        ("sqlite:///loans.db?mode=memory", "mode is 'memory'"),
        ("sqlite:///loans.db?busy_timeout=soon", "busy_timeout is 'soon'"),
    ],
)
def test_a_url_that_names_no_file_is_refused_with_what_to_write(url: str, problem: str) -> None:
    with pytest.raises(hw.BadUrl, match=problem):
        sync.connect(url)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(hw.StoreUnavailable, match="nowhere does not exist"):
        sync.connect(f"sqlite:///{tmp_path}/nowhere/loans.db")


def test_a_name_with_the_characters_of_a_url_is_one_file(tmp_path: Path) -> None:
    with sync.connect(f"sqlite:///{tmp_path}/50%25 of%20%23loans%3F.db") as store:
        store.append("loan-1", [REQUESTED])
    assert (tmp_path / "50% of #loans?.db").exists()


def test_the_identity_stays_with_the_file(url: str) -> None:
    with sync.connect(url) as store:
        identity = store.identity
    with sync.connect(url) as store:
        assert store.identity == identity


def test_many_may_make_the_file_at_the_same_time(tmp_path: Path) -> None:
    """Each with a connection of its own, as processes that start together have."""
    together = threading.Barrier(4)

    def identity(number: int) -> str:
        together.wait()
        with sync.connect(f"sqlite:///{tmp_path}/{number}.db") as store:
            return store.identity

    with ThreadPoolExecutor(4) as threads:
        for number in range(50):
            assert len(set(threads.map(identity, [number] * 4))) == 1


def test_another_programs_database_is_refused_and_left_alone(path: Path, url: str) -> None:
    direct(path, "create table customers (name text)")
    before = path.read_bytes()
    with pytest.raises(hw.CorruptStore, match="not a Headwater store"):
        sync.connect(url)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, url: str) -> None:
    path.write_bytes(b"loan;amount\n173688;20000\n" * 100)
    before = path.read_bytes()
    with pytest.raises(hw.CorruptStore, match="not a database"):
        sync.connect(url)
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused(path: Path, url: str) -> None:
    sync.connect(url).close()
    direct(path, "pragma user_version = 99")
    with pytest.raises(hw.StoreUnavailable, match=r"schema 99.*Upgrade headwater"):
        sync.connect(url)


def of_schema_1(path: Path) -> None:
    """A store as the first version made it, with one event."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.executescript((files("headwater.backends.sqlite") / "sql" / "schema_1.sql").read_text())
        connection.executescript(
            """
            insert into meta values ('identity', '0199aaaa-0000-7000-8000-000000000000');
            insert into kinds values (1, 'loan', 'LoanRequested');
            insert into streams (name, number, created_us) values ('loan-173688', 1, 5);
            insert into events (position, stream, stream_number, version, id, type, kind, data, recorded_us)
                values (1, 'loan-173688', 1, 1, randomblob(16), 'LoanRequested', 1, '{"amount": 20000}', 5);
            pragma application_id = 1213682770;
            pragma user_version = 1;
            """
        )


def test_an_older_schema_is_moved_forward(path: Path, url: str) -> None:
    of_schema_1(path)
    with ThreadPoolExecutor(4) as threads:
        stores = list(threads.map(lambda _: sync.connect(url), range(4)))
    for store in stores:
        with store:
            assert [event.data for event in store.read("loan-173688")] == [{"amount": 20000}]
            assert store.identity == "0199aaaa-0000-7000-8000-000000000000"
            assert step(store._store._backend.save_records([RecordChange("consumers/billing/about", b"{}")]))
    with sync.connect(url) as store:
        assert store.append("loan-173688", [REQUESTED], expected=1).version == 2


def test_an_older_schema_opened_read_only_is_read_as_it_is(path: Path, url: str) -> None:
    of_schema_1(path)
    before = path.read_bytes()
    with sync.connect(f"{url}?mode=ro") as store:
        assert [event.version for event in store.read("loan-173688")] == [1]
        assert step(store._store._backend.load_records("")) == []
    assert path.read_bytes() == before


def test_events_and_tags_refuse_update_and_delete(path: Path, url: str) -> None:
    with sync.connect(url) as store:
        store.append("loan-173688", [REQUESTED])
    for table in ("events", "event_tags"):
        for statement in (f"update {table} set position = 0", f"delete from {table}"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                direct(path, statement)


def test_opened_read_only_it_reads_and_refuses_to_write(url: str) -> None:
    with sync.connect(url) as store:
        store.append("loan-173688", [REQUESTED])
        with sync.connect(f"{url}?mode=ro") as reader:
            assert [event.type for event in reader.read("loan-173688")] == ["LoanRequested"]
            with pytest.raises(hw.StoreUnavailable, match="opened read-only"):
                reader.append("loan-173688", [hw.NewEvent("LoanAccepted", {})])
        assert store.head() == 1


def test_opened_read_only_it_must_exist(path: Path, url: str) -> None:
    with pytest.raises(hw.StoreUnavailable, match="can't be opened"):
        sync.connect(f"{url}?mode=ro")
    assert not path.exists()


def run_child(code: str, *arguments: str, **options: object) -> str:
    child = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False, **options
    )
    assert child.returncode == 0, child.stderr
    return child.stdout


APPEND_UNTIL_REFUSED = """
import sys
import threading
import headwater as hw
from headwater import sync

def fill(store):
    for number in range(100_000):
        store.append("loan-173688", [hw.NewEvent("NoteAdded", {"text": "x" * 1000})])
        yield number + 1

with sync.connect(sys.argv[1]) as store:
    acknowledged = 0
    try:
        for acknowledged in fill(store):
            pass
    except hw.StoreUnavailable as error:
        print(error)
    print(acknowledged)
"""


def test_a_disk_quota_gives_a_clear_error_and_loses_nothing(url: str) -> None:
    """The kernel refuses to let the file grow past 1 MiB, as a full disk or a quota would."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_048_576, 1_048_576))

    sentence, acknowledged = run_child(APPEND_UNTIL_REFUSED, url, preexec_fn=limited).splitlines()
    assert "disk" in sentence
    assert int(acknowledged) > 10
    with sync.connect(url) as store:
        assert [event.version for event in store.read("loan-173688")] == list(range(1, int(acknowledged) + 1))
        assert store.append("loan-173688", [REQUESTED]).version == int(acknowledged) + 1


def test_a_full_disk_gives_a_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    """A file system of 2 MiB, really full."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a small file system")
    try:
        url = f"sqlite:///{disk}/loans.db"
        sentence, acknowledged = run_child(APPEND_UNTIL_REFUSED, url).splitlines()
        assert "full" in sentence
        with sync.connect(f"{url}?mode=ro") as store:
            assert [event.version for event in store.read("loan-173688")] == list(range(1, int(acknowledged) + 1))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


APPEND_AS_NOBODY = """
import os, sys
import headwater as hw
from headwater import sync

sync.connect(sys.argv[2]).close()  # loads all of the program while it may still be read
if os.getuid() == 0:
    os.setuid(65534)
with sync.connect(sys.argv[1]) as store:
    print(len(list(store.read("loan-173688"))))
    try:
        store.append("loan-173688", [hw.NewEvent("LoanAccepted", {})])
    except hw.StoreUnavailable as error:
        print(error)
"""


def may_be_read_by_all(path: Path) -> None:
    """The file and its folders, by everybody; written by nobody."""
    for folder in [path.parent, *path.parents]:
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    for each in path.parent.iterdir():
        each.chmod(0o444)


def test_a_file_that_may_not_be_written_reads_and_says_so(path: Path, url: str) -> None:
    with sync.connect(url) as store:
        store.append("loan-173688", [REQUESTED])
        may_be_read_by_all(path)
        count, sentence = run_child(APPEND_AS_NOBODY, url, f"sqlite:///{path.parent}/other.db").splitlines()
    assert count == "1"
    assert "can't be written" in sentence


def test_an_older_schema_that_may_not_be_written_is_read_as_it_is(path: Path, url: str) -> None:
    of_schema_1(path)
    with contextlib.closing(sqlite3.connect(path)) as holder:
        assert holder.execute("select count(*) from events").fetchone() == (1,)  # now its companion files are there
        may_be_read_by_all(path)
        count, sentence = run_child(APPEND_AS_NOBODY, url, f"sqlite:///{path.parent}/other.db").splitlines()
        assert holder.execute("pragma user_version").fetchone() == (1,)
    assert count == "1"
    assert "can't be written" in sentence


def test_a_lock_held_too_long_by_another_process_is_reported(path: Path, url: str) -> None:
    with sync.connect(f"{url}?busy_timeout=0.2") as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("begin immediate")
        with pytest.raises(hw.StoreUnavailable, match="locked by another process"):
            store.append("loan-173688", [REQUESTED])
        other.execute("rollback")
        other.close()
        assert store.append("loan-173688", [REQUESTED]).duplicate is False


def test_a_store_opened_before_a_fork_is_refused_in_the_child(url: str) -> None:
    code = """
import os, sys
import headwater as hw
from headwater import sync
store = sync.connect(sys.argv[1])
child = os.fork()
if child == 0:
    try:
        store.append("loan-1", [hw.NewEvent("LoanRequested", {})])
    except hw.StoreUnavailable as error:
        os._exit(7 if "fork" in str(error) else 1)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
store.close()
"""
    assert run_child(code, url).strip() == "7"


def test_a_closed_store_says_so(url: str) -> None:
    store = sync.connect(url)
    store.close()
    store.close()
    with pytest.raises(hw.StoreUnavailable, match="was closed"):
        store.append("loan-173688", [REQUESTED])
    with pytest.raises(hw.StoreUnavailable, match="was closed"):
        store.head()
