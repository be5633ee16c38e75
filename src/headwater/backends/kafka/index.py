"""The index: a SQLite store that holds what the topics say, and how far it has come in them."""

from __future__ import annotations

import sqlite3
import uuid

from headwater.backend import Write
from headwater.backends.sqlite.connections import StoreFile, connection_to, faults_of, in_turn
from headwater.backends.sqlite.mirror import fact, keep
from headwater.backends.sqlite.reader import head
from headwater.backends.sqlite.schema import prepare
from headwater.backends.sqlite.transaction import Transaction
from headwater.errors import CorruptStore
from headwater.events import Event, EventRecord

__all__ = [
    "IDENTITY",
    "OFFSET",
    "SEQUENCE",
    "SNAPSHOT_BYTES_MAX",
    "apply_event",
    "keep_new_name",
    "opened",
]

IDENTITY, NAME, OFFSET, SEQUENCE = "kafka_identity", "kafka_index", "kafka_offset", "kafka_sequence"
"""Facts in the index: whose it is, its name, where to read events on, the last transaction that is whole in it."""

SNAPSHOT_BYTES_MAX = 900_000
"""A larger snapshot is kept in the index only: no message can hold it, and losing it costs time, never facts."""


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


def keep_new_name(connection: sqlite3.Connection) -> str:
    """The index's name; given when it is first asked for."""
    name = fact(connection, NAME)
    if not name:
        name = uuid.uuid4().hex
        keep(connection, NAME, name)
    return name


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


def _broken(finding: str) -> CorruptStore:
    return CorruptStore(
        "the topic of events", finding, "Did something else write to it, or remove messages? Restore the topic."
    )
