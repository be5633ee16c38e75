"""The index: a SQLite store that holds what the topics say, and how far it has come in them."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from headwater.backend import Write
from headwater.backends.kafka.messages import CHECKPOINT, RECORD, SNAPSHOT, Beside
from headwater.backends.sqlite.connections import StoreFile, connection_to, faults_of, in_turn
from headwater.backends.sqlite.reader import events_after, head
from headwater.backends.sqlite.schema import named_statements, prepare
from headwater.backends.sqlite.transaction import Transaction
from headwater.errors import CorruptStore, StoreUnavailable
from headwater.events import Event, EventRecord

__all__ = [
    "Changes",
    "apply_beside",
    "apply_event",
    "capture",
    "changes",
    "fact",
    "keep",
    "keep_new_name",
    "opened",
    "owned_file",
]

IDENTITY, NAME, OFFSET, SEQUENCE = "kafka_identity", "kafka_index", "kafka_offset", "kafka_sequence"
"""Facts in the index: whose it is, its name, where to read events on, the last transaction that is whole in it."""

SNAPSHOT_BYTES_MAX = 900_000
"""A larger snapshot is kept in the index only: no message can hold it, and losing it costs time, never facts."""

_TABLES = {CHECKPOINT: "checkpoints", RECORD: "records", SNAPSHOT: "snapshots"}


class Changes(msgspec.Struct, frozen=True):
    """What a transaction has changed."""

    events: list[Event]
    beside: list[Beside]


@cache
def _statements() -> dict[str, str]:
    return named_statements((files("headwater.backends.kafka") / "statements.sql").read_text(encoding="utf-8"))


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


def opened(file: StoreFile) -> sqlite3.Connection:
    """The writing connection to the index, which is made where it is missing. Raises ``CorruptStore``."""
    with faults_of(file):
        connection = in_turn(file, lambda: connection_to(file, writing=True))
        try:
            prepare(connection, file)
            connection.execute("pragma synchronous = normal")  # what is lost is read from Kafka again
            if not fact(connection, OFFSET):
                if head(connection) or connection.execute("select 1 from streams").fetchone():
                    raise CorruptStore(
                        str(file.path), "it is a store of its own, not the index of one in Kafka", "Name another file."
                    )
                keep(connection, OFFSET, "0")
                keep(connection, SEQUENCE, "0")
            return connection
        except BaseException:
            connection.close()
            raise


def fact(connection: sqlite3.Connection, name: str) -> str:
    """What the index says about itself; '' where it says nothing."""
    row = connection.execute("select value from meta where key = ?", (name,)).fetchone()
    return str(row[0]) if row else ""


def keep_new_name(connection: sqlite3.Connection) -> str:
    """The index's name; given when it is first asked for."""
    name = fact(connection, NAME)
    if not name:
        name = uuid.uuid4().hex
        keep(connection, NAME, name)
    return name


def keep(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Let the index say this about itself."""
    connection.execute(_statements()["keep_fact"], (name, value))


def capture(connection: sqlite3.Connection) -> None:
    """Take note of what this connection changes beside the log, from now on."""
    connection.executescript((files("headwater.backends.kafka") / "capture.sql").read_text(encoding="utf-8"))


def changes(connection: sqlite3.Connection, after: int) -> Changes:
    """What the transaction under way has changed: events after this position, and what is kept beside the log."""
    noted = connection.execute(_statements()["noted"], (after,)).fetchall()
    connection.execute("delete from temp.changed")
    beside = [(kind, name, _value(connection, kind, name)) for kind, name in noted]
    return Changes(events_after(connection, after), beside)


def _value(connection: sqlite3.Connection, kind: str, name: str) -> bytes | None:
    row = connection.execute(_statements()[f"read_{kind}"], (name,)).fetchone()
    if row is None or (kind == SNAPSHOT and len(row[1]) > SNAPSHOT_BYTES_MAX):
        return None
    return msgspec.msgpack.encode(row)


def apply_event(transaction: Transaction, event: Event) -> None:
    """Let the index have an event of the log. Raises ``CorruptStore`` where it can't be the next one."""
    heads = transaction.heads
    if event.position != heads.position + 1:
        raise _broken(f"the event at position {event.position} follows position {heads.position}")
    if event.stream is not None and event.version != heads.of(event.stream).version + 1:
        found = heads.of(event.stream).version
        raise _broken(f"version {event.version} of stream {event.stream!r} follows version {found}")
    record = EventRecord(
        event.raw_id,
        event.type,
        event.raw_data,
        event.raw_metadata,
        event.tags,
        event.content_type,
        event.occurred_us,
    )
    transaction.now_us = event.recorded_us
    transaction.collect(Write(event.stream, (record,)))


def apply_beside(connection: sqlite3.Connection, change: Beside) -> None:
    """Let the index have a change beside the log."""
    kind, name, value = change
    if value is not None:
        row: Sequence[Any] = msgspec.msgpack.decode(value)
        connection.execute(_statements()[f"apply_{kind}"], (name, *row))
    elif kind in _TABLES:
        connection.execute(f"delete from {_TABLES[kind]} where name = ?", (name,))  # noqa: S608  # our own tables


def _broken(finding: str) -> CorruptStore:
    return CorruptStore(
        "the topic of events", finding, "Did something else write to it, or remove messages? Restore the topic."
    )
