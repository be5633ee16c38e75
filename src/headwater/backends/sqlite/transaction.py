"""One write transaction: what its units share, the rules of an append, and the rows collected for it.

Rows are written in few statements just before the commit, or before somebody in the same transaction must see them.
Ids are checked by the unique index when the rows are written: it rarely fails, and when it does, the writer rolls the
transaction back and runs its units again, each alone and after looking its ids up.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from headwater.appending import Place, check_expected, first_result
from headwater.backend import Appended, StreamState, Write
from headwater.backends.sqlite.reader import first_match
from headwater.backends.sqlite.schema import STATES, statement
from headwater.errors import AppendConditionFailed, AppendRefused
from headwater.events import JSON, EventRecord, category_of, is_json, now_us

__all__ = ["Head", "Heads", "Transaction"]

HEADS_MAX = 100_000
"""Streams whose heads are remembered: about 20 MB at most."""

ROWS_AT_ONCE = (64, 32, 16, 8, 4, 2, 1)
"""How many rows an insert statement takes; 64 events have 832 values, under the 999 that any SQLite takes."""


class Head(NamedTuple):
    """Where a stream is."""

    number: int | None
    """As the ``streams`` table numbers it; None for a name that never had an event."""
    version: int
    state: StreamState


NO_HEAD = Head(None, 0, "open")


class Heads:
    """Where the log and the streams are, remembered from one transaction to the next while nobody else writes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._data_version = -1
        self._streams: dict[str, Head] = {}
        self._kinds: dict[tuple[str | None, str], int] = {}
        self.position = 0

    def refresh(self) -> None:
        """Inside a transaction: forget everything if another connection has committed since the last one."""
        data_version = self._connection.execute("pragma data_version").fetchone()[0]
        if data_version != self._data_version or len(self._streams) > HEADS_MAX:
            self._streams.clear()
            self._kinds.clear()
            self.position = self._connection.execute("select max(position) from events").fetchone()[0] or 0
            self._data_version = data_version

    def forget(self) -> None:
        """After a rollback: nothing remembered is sure."""
        self._data_version = -1

    def forget_stream(self, stream: str) -> None:
        """What is remembered of one stream is not sure: its row was changed by other means."""
        self._streams.pop(stream, None)

    def of(self, stream: str) -> Head:
        """The stream's head, with what the transaction under way did to it."""
        head = self._streams.get(stream)
        if head is None:
            row = self._connection.execute(statement("stream_head"), (stream,)).fetchone()
            head = self._streams[stream] = Head(row[0], row[1] or 0, STATES[row[2]]) if row else NO_HEAD
        return head

    def kind_of(self, category: str | None, type: str) -> int:
        """The number of this category and type, a new one where they were never seen together."""
        kind = self._kinds.get((category, type))
        if kind is None:
            find = "select number from kinds where type = ? and category is ?"
            row = self._connection.execute(find, (type, category)).fetchone()
            kind = self._kinds[category, type] = row[0] if row else self._new_kind(category, type)
        return kind

    def _new_kind(self, category: str | None, type: str) -> int:
        cursor = self._connection.execute("insert into kinds (type, category) values (?, ?)", (type, category))
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def move(self, stream: str, head: Head) -> None:
        """The transaction under way puts the stream there."""
        self._streams[stream] = head


class Transaction:
    """What the units of one commit share: where the log and the streams are, and the rows not yet written."""

    def __init__(self, connection: sqlite3.Connection, heads: Heads, *, look_ids_up: bool) -> None:
        self.connection = connection
        self.heads = heads
        self.now_us = now_us()
        self._look_ids_up = look_ids_up
        self._events: list[tuple[Any, ...]] = []
        self._tags: list[tuple[str, int, int]] = []
        self._opened: list[tuple[str, int, int]] = []

    def append(self, writes: Sequence[Write]) -> list[Appended]:
        """Collect the rows of an append that may be made; refuse it before any row otherwise."""
        if self._look_ids_up and (stored := self._places(writes)):
            return first_result(writes, stored)
        try:
            for write in writes:
                self._check(write)
        except AppendRefused:
            if stored := self._places(writes):  # a retry, and what it expected was true the first time
                return first_result(writes, stored)
            raise
        return [self.collect(write) for write in writes]

    def _check(self, write: Write) -> None:
        if write.stream is not None:
            head = self.heads.of(write.stream)
            check_expected(write.stream, write.expected, head.version, head.state)
        if write.condition is not None:
            self.flush()
            position = first_match(self.connection, write.condition.fail_if_match, write.condition.after)
            if position is not None:
                raise AppendConditionFailed(write.condition, position)

    def collect(self, write: Write) -> Appended:
        """Collect the rows of an append that was checked, or was made before somewhere else."""
        if write.stream is None:
            return Appended(0, self._add_rows(None, None, 0, write.records))
        number, version, state = self.heads.of(write.stream)
        if number is None or state != "open":
            number = number or self.heads.position + 1
            self._opened.append((write.stream, number, self.now_us))
        position = self._add_rows(write.stream, number, version, write.records)
        version += len(write.records)
        self.heads.move(write.stream, Head(number, version, "open"))
        return Appended(version, position)

    def _add_rows(self, stream: str | None, number: int | None, version: int, records: Sequence[EventRecord]) -> int:
        """Collect the rows of events that follow ``version``; the position of the last one."""
        position = self.heads.position
        step = 0 if stream is None else 1
        category = None if stream is None else category_of(stream)
        for record in records:
            position += 1
            version += step
            kind = self.heads.kind_of(category, record.type)
            place = (position, stream, number, version)
            self._events.append(
                (*place, record.id, record.type, kind, *_stored(record), self.now_us, record.occurred_us)
            )
            if record.tags:
                self._tags.extend([(tag, position, kind) for tag in record.tags])
        self.heads.position = position
        return position

    def delete(self, stream: str, state: StreamState) -> None:
        """Hide the stream's events so far."""
        self.flush()
        head = self.heads.of(stream)
        values = {"name": stream, "version": head.version, "state": STATES.index(state), "now": self.now_us}
        self.connection.execute(statement("delete_stream"), values)
        self.heads.move(stream, Head(head.number, head.version, state))

    def _places(self, writes: Sequence[Write]) -> dict[bytes, Place]:
        """Which of the ids are stored, and where."""
        self.flush()
        find = "select position, stream, version from events where id = ?"
        found = {}
        for write in writes:
            for record in write.records:
                row = self.connection.execute(find, (record.id,)).fetchone()
                if row:
                    found[record.id] = Place(*row)
        return found

    def flush(self) -> None:
        """Write the collected rows, so that statements of this transaction see them."""
        if not self._events:
            return
        _insert(self.connection, "insert_event", self._events)
        _insert(self.connection, "insert_tag", self._tags)
        _insert(self.connection, "open_stream", self._opened)
        self._events, self._tags, self._opened = [], [], []


def _insert(connection: sqlite3.Connection, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write rows in few statements: each one lets go of the interpreter lock, and may wait long to have it back."""
    start = 0
    for count in ROWS_AT_ONCE:
        while len(rows) - start >= count:
            values = [value for row in rows[start : start + count] for value in row]
            connection.execute(_with_rows(name, count), values)
            start += count


@cache
def _with_rows(name: str, count: int) -> str:
    """The insert statement of this name, for so many rows."""
    insert, values, rest = re.split(r"(values \([?, ]+\))", statement(name))
    return insert + values + f", {values.removeprefix('values ')}" * (count - 1) + rest


def _stored(record: EventRecord) -> tuple[str | bytes, str, str, str | None]:
    """An event's data, metadata, tags and content type as their columns hold them."""
    content_type = record.content_type
    plain = content_type == JSON
    data = record.data.decode() if plain or is_json(content_type) else record.data
    return data, record.metadata.decode(), "\n".join(record.tags), None if plain else content_type
