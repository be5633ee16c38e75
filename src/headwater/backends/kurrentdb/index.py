"""The index: a SQLite store that holds what KurrentDB says, and how far it has come there."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Sequence

import msgspec
from kurrentdbclient import RecordedEvent

from headwater.backend import Write
from headwater.backends.kurrentdb.records import COMMITS, RESERVED, STREAMLESS, beside_of, event_of, is_own
from headwater.backends.sqlite.connections import StoreFile, connection_to, faults_of, in_turn
from headwater.backends.sqlite.mirror import apply_beside, fact, keep
from headwater.backends.sqlite.reader import head
from headwater.backends.sqlite.schema import prepare
from headwater.backends.sqlite.transaction import Head, Transaction
from headwater.errors import CorruptStore
from headwater.events import Event, EventRecord

__all__ = ["IDENTITY", "OFFSET", "SEQUENCE", "apply", "opened"]

IDENTITY, OFFSET, SEQUENCE = "kurrentdb_identity", "kurrentdb_offset", "kurrentdb_sequence"
"""Facts in the index: whose it is, the position up to which it has everything, how many commits those are."""


def opened(file: StoreFile) -> sqlite3.Connection:
    """The writing connection to the index, which is made where it is missing. Raises ``CorruptStore``."""
    with faults_of(file):
        connection = in_turn(file, lambda: connection_to(file, writing=True))
        try:
            prepare(connection, file)
            connection.execute("pragma synchronous = normal")  # what is lost is read from KurrentDB again
            if not fact(connection, OFFSET):
                if head(connection) or connection.execute("select 1 from streams").fetchone():
                    raise CorruptStore(
                        str(file.path), "it is a store of its own, not the index of one in KurrentDB", "Name another."
                    )
                keep(connection, OFFSET, "0")
                keep(connection, SEQUENCE, "0")
            return connection
        except BaseException:
            connection.close()
            raise


def apply(transaction: Transaction, records: Sequence[RecordedEvent]) -> None:
    """Let the index have what was recorded, in order. Raises ``CorruptStore``."""
    for recorded in records:
        name = recorded.stream_name
        try:
            if name == COMMITS:
                keep(transaction.connection, SEQUENCE, str(recorded.stream_position + 1))
            elif name.startswith(RESERVED) and name != STREAMLESS:
                transaction.flush()
                apply_beside(transaction.connection, beside_of(recorded))
                transaction.heads.forget_stream(beside_of(recorded)[1])
            else:
                event = event_of(recorded)
                _apply_event(transaction, event if is_own(recorded) else _with_an_id(transaction, event))
        except msgspec.DecodeError as error:
            raise CorruptStore(
                "KurrentDB", f"event {recorded.stream_position} of {name!r} is none of ours: {error}", "Who wrote it?"
            ) from None
    if records:
        keep(transaction.connection, OFFSET, str(records[-1].commit_position))


def _with_an_id(transaction: Transaction, event: Event) -> Event:
    """The event of another client, which may give one id to events of several streams: the index has each once."""
    transaction.flush()
    if transaction.connection.execute("select 1 from events where id = ?", (event.raw_id,)).fetchone() is None:
        return event
    id = uuid.uuid5(uuid.UUID(bytes=event.raw_id), f"{event.stream}\n{event.version}")
    return msgspec.structs.replace(event, raw_id=id.bytes)


def _apply_event(transaction: Transaction, event: Event) -> None:
    """An event goes under its own position and version: there may be holes, where KurrentDB has scavenged."""
    heads = transaction.heads
    if event.position <= heads.position:
        raise CorruptStore(
            "KurrentDB",
            f"the event at position {event.position} came after position {heads.position}",
            "Is the index of another store? Remove it: it is made again.",
        )
    heads.position = event.position - 1
    if event.stream is not None:
        present = heads.of(event.stream)
        heads.move(event.stream, Head(present.number, event.version - 1, present.state))
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
