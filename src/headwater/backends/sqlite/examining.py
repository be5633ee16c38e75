"""What can be wrong with the file below a store, and with the disk that it is on."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from headwater.backend import Examined
from headwater.backends.sqlite.connections import StoreFile

__all__ = ["examine"]

WAL_BYTES = 268_435_456
"""A write-ahead log so long was kept by a reader that does not end, or by a crash; it makes every read slower."""
ROOM_BYTES = 1_073_741_824
ON_NETWORK = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "gluster", "fuse.sshfs", "vboxsf", "virtiofs")
OLDEST = (3, 35, 0)
TRIGGERS = {"events_never_change", "events_never_go", "event_tags_never_change", "event_tags_never_go"}


def examine(connection: sqlite3.Connection, file: StoreFile) -> list[Examined]:
    """Everything, in a fixed order. Changes nothing."""
    return [
        _library(),
        _journal(connection),
        _pages(connection),
        _guards(connection),
        _log(file.path),
        _room(file.path),
        _disk(file.path),
    ]


def _library() -> Examined:
    if sqlite3.sqlite_version_info >= OLDEST:
        return Examined("library", "well", f"SQLite {sqlite3.sqlite_version}")
    return Examined("library", "wrong", f"SQLite {sqlite3.sqlite_version}", "Use a Python with a newer one.")


def _journal(connection: sqlite3.Connection) -> Examined:
    (mode,) = connection.execute("pragma journal_mode").fetchone()
    if mode == "wal":
        return Examined("durability", "well", "a write-ahead log, made durable at each commit")
    return Examined(
        "durability",
        "wrong",
        f"the file's journal mode is {mode}: another program has changed it, and readers block writers now",
        "Close all programs, then: sqlite3 FILE 'pragma journal_mode = wal'.",
    )


def _pages(connection: sqlite3.Connection) -> Examined:
    """The structure of the file, without the indexes' contents."""
    found = [text for (text,) in connection.execute("pragma quick_check(3)").fetchall()]
    if found == ["ok"]:
        return Examined("structure", "well", "the file's pages are sound")
    return Examined("structure", "wrong", "; ".join(found), "Restore the file from a backup or an export.")


def _guards(connection: sqlite3.Connection) -> Examined:
    there = {name for (name,) in connection.execute("select name from sqlite_schema where type = 'trigger'").fetchall()}
    if missing := sorted(TRIGGERS - there):
        return Examined(
            "append-only",
            "wrong",
            f"the triggers that refuse changes to what is stored are gone: {', '.join(missing)}",
            "Somebody has dropped them: run headwater verify, and restore the file where it finds something.",
        )
    return Examined("append-only", "well", "the file refuses changes to what is stored")


def _log(path: Path) -> Examined:
    log = path.with_name(path.name + "-wal")
    size = log.stat().st_size if log.exists() else 0
    if size <= WAL_BYTES:
        return Examined("write-ahead log", "well", f"{size:,} bytes")
    return Examined(
        "write-ahead log",
        "note",
        f"{size:,} bytes: some program has been reading for long without end",
        "Find it and let it end its transaction; the log is folded into the file then.",
    )


def _room(path: Path) -> Examined:
    free, size = shutil.disk_usage(path.parent).free, path.stat().st_size
    if free >= ROOM_BYTES:
        return Examined("room", "well", f"{free:,} bytes free; the file has {size:,}")
    return Examined("room", "note", f"only {free:,} bytes free; the file has {size:,}", "Free some, or move the file.")


def _disk(path: Path) -> Examined:
    """Whether locks on this kind of file system can be relied on."""
    kind = _kind_of_disk(path)
    if kind.startswith(ON_NETWORK):
        return Examined(
            "disk",
            "wrong",
            f"the file is on a network file system ({kind}), where locks between machines fail",
            "Keep it on a disk of the machine that uses it; for several machines use PostgreSQL.",
        )
    return Examined("disk", "well", f"a local file system ({kind})" if kind else "of unknown kind")


def _kind_of_disk(path: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """The kind of file system that the path is on, where the system tells (Linux); else ''."""
    try:
        lines = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:
        return ""
    holding = [(point, kind) for _, point, kind, *_ in lines if path.is_relative_to(point.replace("\\040", " "))]
    return max(holding, key=lambda each: len(each[0]), default=("", ""))[1]
