"""A file as the index of a store that is kept elsewhere: what a transaction changes, to be committed there first, and
what is applied to the file because it was committed there.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from headwater.backends.sqlite.reader import events_after
from headwater.backends.sqlite.schema import named_statements
from headwater.errors import StoreUnavailable
from headwater.events import Event

__all__ = [
    "CHECKPOINT",
    "RECORD",
    "SNAPSHOT",
    "STREAM",
    "Beside",
    "Changes",
    "apply_beside",
    "capture",
    "changes",
    "fact",
    "keep",
    "owned_file",
]

CHECKPOINT, RECORD, SNAPSHOT, STREAM = "checkpoint", "record", "snapshot", "stream"
"""Rows of the tables beside the log."""

Beside = tuple[str, str, bytes | None]
"""A kind, a name, and its row; None where it was removed."""

_TABLES = {CHECKPOINT: "checkpoints", RECORD: "records", SNAPSHOT: "snapshots"}


class Changes(msgspec.Struct, frozen=True):
    """What a transaction has changed."""

    events: list[Event]
    beside: list[Beside]


@cache
def _statements() -> dict[str, str]:
    return named_statements(_sql("mirror.sql"))


def _sql(name: str) -> str:
    return (files("headwater.backends.sqlite") / "sql" / name).read_text(encoding="utf-8")


@contextlib.contextmanager
def owned_file(path: Path) -> Iterator[None]:
    """Keep every other process, and every other opening, from using this index. Raises ``StoreUnavailable``."""
    lock = sqlite3.connect(
        path.with_name(path.name + "-lock"), isolation_level=None, timeout=0, check_same_thread=False
    )
    with contextlib.closing(lock):
        try:
            lock.execute("begin exclusive")
        except sqlite3.OperationalError:
            raise StoreUnavailable(
                f"the index {path} is in use by another opening of the store",
                "Give each process an index of its own: index=… in the URL.",
                transient=False,
            ) from None
        yield


def fact(connection: sqlite3.Connection, name: str) -> str:
    """What the index says about itself; '' where it says nothing."""
    row = connection.execute("select value from meta where key = ?", (name,)).fetchone()
    return str(row[0]) if row else ""


def keep(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Let the index say this about itself."""
    connection.execute(_statements()["keep_fact"], (name, value))


def capture(connection: sqlite3.Connection) -> None:
    """Take note of what this connection changes beside the log, from now on."""
    connection.executescript(_sql("capture.sql"))


def changes(connection: sqlite3.Connection, after: int, snapshot_bytes_max: int) -> Changes:
    """What the transaction under way has changed: events after this position, and what is kept beside the log.

    A snapshot larger than the given size is told as removed.
    """
    noted = connection.execute(_statements()["noted"], (after,)).fetchall()
    connection.execute("delete from temp.changed")
    beside = [(kind, name, _row(connection, kind, name, snapshot_bytes_max)) for kind, name in noted]
    return Changes(events_after(connection, after), beside)


def _row(connection: sqlite3.Connection, kind: str, name: str, snapshot_bytes_max: int) -> bytes | None:
    row = connection.execute(_statements()[f"read_{kind}"], (name,)).fetchone()
    if row is None or (kind == SNAPSHOT and len(row[1]) > snapshot_bytes_max):
        return None
    return msgspec.msgpack.encode(row)


def apply_beside(connection: sqlite3.Connection, change: Beside) -> None:
    """Let the index have a change beside the log."""
    kind, name, value = change
    if value is not None:
        row: Sequence[Any] = msgspec.msgpack.decode(value)
        connection.execute(_statements()[f"apply_{kind}"], (name, *row))
    elif kind in _TABLES:
        connection.execute(f"delete from {_TABLES[kind]} where name = ?", (name,))  # noqa: S608  # our own tables
