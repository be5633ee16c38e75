"""The file's writer: one thread that commits whatever waits as one transaction, once.

Callers put units of work in a queue and wait for the reply. The thread takes all that are there, runs each against
the one open transaction, commits, and answers each. A unit that is refused has written nothing, so it costs its
neighbours nothing. Rows are collected and written by ``executemany`` just before the commit (or before somebody in
the same transaction must see them).

Ids are checked by the unique index when the rows are written. That is rare to fail, and when it does, the whole
transaction is rolled back and its units are run again, each alone and after looking its ids up.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable, Sequence
from functools import cache
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from headwater.appending import Place, check_expected, first_result
from headwater.backend import Appended, StreamState, Write
from headwater.backends.sqlite.connections import StoreFile, begin, fault
from headwater.backends.sqlite.reader import first_match
from headwater.backends.sqlite.schema import STATES, statement
from headwater.errors import AppendConditionFailed, AppendRefused, HeadwaterError, StoreUnavailable
from headwater.events import JSON, EventRecord, is_json, now_us
from headwater.waiting import Reply, settle

__all__ = ["Transaction", "Writer"]

T = TypeVar("T")
_Unit = tuple[Callable[["Transaction"], Any], Reply[Any]]

HEADS_MAX = 100_000
"""Streams whose heads are remembered: about 20 MB at most."""

ROWS_AT_ONCE = (64, 32, 16, 8, 4, 2, 1)
"""How many rows an insert statement takes; 64 events have 768 values, under the 999 that any SQLite takes."""

GROUP_UNITS_MAX = 1_000
"""Units committed together at most: bounds how long the first one waits for the last one's turn."""


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
        self.position = 0

    def refresh(self) -> None:
        """Inside a transaction: forget everything if another connection has committed since the last one."""
        data_version = self._connection.execute("pragma data_version").fetchone()[0]
        if data_version != self._data_version or len(self._streams) > HEADS_MAX:
            self._streams.clear()
            self.position = self._connection.execute("select max(position) from events").fetchone()[0] or 0
            self._data_version = data_version

    def forget(self) -> None:
        """After a rollback: nothing remembered is sure."""
        self._data_version = -1

    def of(self, stream: str) -> Head:
        """The stream's head, with what the transaction under way did to it."""
        head = self._streams.get(stream)
        if head is None:
            row = self._connection.execute(statement("stream_head"), (stream,)).fetchone()
            head = self._streams[stream] = Head(row[0], row[1] or 0, STATES[row[2]]) if row else NO_HEAD
        return head

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
        self._tags: list[tuple[str, int, str]] = []
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
        return [self._collect(write) for write in writes]

    def _check(self, write: Write) -> None:
        if write.stream is not None:
            head = self.heads.of(write.stream)
            check_expected(write.stream, write.expected, head.version, head.state)
        if write.condition is not None:
            self.flush()
            position = first_match(self.connection, write.condition.fail_if_match, write.condition.after)
            if position is not None:
                raise AppendConditionFailed(write.condition, position)

    def _collect(self, write: Write) -> Appended:
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
        for record in records:
            position += 1
            version += step
            self._events.append(_row(position, stream, number, version, record, self.now_us))
            if record.tags:
                self._tags.extend([(tag, position, record.type) for tag in record.tags])
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


def _row(
    position: int, stream: str | None, number: int | None, version: int, record: EventRecord, recorded_us: int
) -> tuple[Any, ...]:
    kind = record.content_type
    plain = kind == JSON
    data = record.data.decode() if plain or is_json(kind) else record.data
    return (
        position,
        stream,
        number,
        version,
        record.id,
        record.type,
        data,
        record.metadata.decode(),
        "\n".join(record.tags),
        None if plain else kind,
        recorded_us,
        record.occurred_us,
    )


class Writer:
    """The thread and its queue."""

    def __init__(self, connection: sqlite3.Connection, file: StoreFile, committed: Callable[[], None]) -> None:
        self._connection = connection
        self._heads = Heads(connection)
        self._file = file
        self._committed = committed
        self._queue: SimpleQueue[_Unit | None] = SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="headwater-sqlite-writer", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[Transaction], T]) -> T:
        """Do ``work`` in the next transaction and return its result once that is committed and durable."""
        reply: Reply[T] = Reply()
        with self._closing:
            if self._closed:
                raise StoreUnavailable(f"{self._file.path} was closed", "Open it again.", transient=False)
            self._queue.put((work, reply))
        return await reply

    def close(self) -> None:
        """Commit what waits, then end the thread."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            units, last = self._waiting_units()
            if units:
                self._commit(units)
            if last:
                return

    def _waiting_units(self) -> tuple[list[_Unit], bool]:
        """All units that wait (at least one, unless the writer is closing), and whether they are the last."""
        unit = self._queue.get()
        units: list[_Unit] = []
        while unit is not None:
            units.append(unit)
            if len(units) == GROUP_UNITS_MAX:
                return units, False
            try:
                unit = self._queue.get_nowait()
            except Empty:
                return units, False
        return units, True

    def _commit(self, units: list[_Unit]) -> None:
        try:
            try:
                outcomes = self._transact(units, look_ids_up=False)
            except sqlite3.IntegrityError:  # some id is stored already
                outcomes = [self._transact_alone(unit) for unit in units]
        except sqlite3.Error as error:
            failure = fault(error, self._file)
            outcomes = [(None, failure)] * len(units)
        except BaseException as error:  # whatever it was, nobody may wait for ever
            outcomes = [(None, error)] * len(units)
        for (_, reply), (value, failed) in zip(units, outcomes, strict=True):
            reply.answer(value, failed)
        settle([reply for _, reply in units])
        self._committed()

    def _transact_alone(self, unit: _Unit) -> tuple[Any, BaseException | None]:
        try:
            return self._transact([unit], look_ids_up=True)[0]
        except sqlite3.Error as error:
            return None, fault(error, self._file)

    def _transact(self, units: list[_Unit], *, look_ids_up: bool) -> list[tuple[Any, BaseException | None]]:
        connection = self._connection
        begin(connection, self._file)
        try:
            self._heads.refresh()
            transaction = Transaction(connection, self._heads, look_ids_up=look_ids_up)
            outcomes = [_outcome(work, transaction) for work, _ in units]
            transaction.flush()
            connection.execute("commit")
        except BaseException:
            self._heads.forget()
            if connection.in_transaction:
                connection.execute("rollback")
            raise
        return outcomes


def _outcome(work: Callable[[Transaction], Any], transaction: Transaction) -> tuple[Any, BaseException | None]:
    try:
        return work(transaction), None
    except HeadwaterError as refusal:
        return None, refusal
