"""The file's writer: one thread that commits whatever waits as one transaction, once.

Callers put units of work in a queue and wait for the reply. The thread takes all that are there, runs each against
the one open transaction, commits, and answers each. A unit that is refused has written nothing, so it costs its
neighbours nothing. Rows are collected and written by ``executemany`` just before the commit (or before somebody in
the same transaction must see them).

Ids are checked by the unique index when the rows are written. That is rare to fail, and when it does, the whole
transaction is rolled back and its units are run again, each alone and after looking its ids up.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

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

GROUP_UNITS_MAX = 1_000
"""Units committed together at most: bounds how long the first one waits for the last one's turn."""


class Transaction:
    """What the units of one commit share: where the log and the streams are, and the rows not yet written."""

    def __init__(self, connection: sqlite3.Connection, *, look_ids_up: bool) -> None:
        self.connection = connection
        self.now_us = now_us()
        self._look_ids_up = look_ids_up
        self._position: int | None = None
        self._heads: dict[str, tuple[int, StreamState]] = {}
        self._events: list[tuple[Any, ...]] = []
        self._tags: list[tuple[str, int, str]] = []
        self._moved: dict[str, int] = {}

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
            version, state = self.head_of(write.stream)
            check_expected(write.stream, write.expected, version, state)
        if write.condition is not None:
            self.flush()
            position = first_match(self.connection, write.condition.fail_if_match, write.condition.after)
            if position is not None:
                raise AppendConditionFailed(write.condition, position)

    def _collect(self, write: Write) -> Appended:
        position = self._last_position()
        version = 0 if write.stream is None else self.head_of(write.stream)[0]
        step = 0 if write.stream is None else 1
        for record in write.records:
            position += 1
            version += step
            self._events.append(_row(position, write.stream, version, record, self.now_us))
            if record.tags:
                self._tags.extend([(tag, position, record.type) for tag in record.tags])
        self._position = position
        if write.stream is not None:
            self._heads[write.stream] = (version, "open")
            self._moved[write.stream] = version
        return Appended(version, position)

    def _last_position(self) -> int:
        if self._position is None:
            self._position = self.connection.execute("select max(position) from events").fetchone()[0] or 0
        return self._position

    def head_of(self, stream: str) -> tuple[int, StreamState]:
        """The stream's version and state, with what this transaction did to it."""
        head = self._heads.get(stream)
        if head is None:
            row = self.connection.execute("select version, state from streams where name = ?", (stream,)).fetchone()
            head = self._heads[stream] = (row[0], STATES[row[1]]) if row else (0, "open")
        return head

    def delete(self, stream: str, version: int, state: StreamState) -> None:
        """Hide the stream's events so far."""
        self.flush()
        values = {"name": stream, "version": version, "state": STATES.index(state), "now": self.now_us}
        self.connection.execute(statement("delete_stream"), values)
        self._heads[stream] = (version, state)

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
        execute = self.connection.executemany
        execute(statement("insert_event"), self._events)
        if self._tags:
            execute(statement("insert_tag"), self._tags)
        if self._moved:
            moved = [(name, version, self.now_us, self.now_us) for name, version in self._moved.items()]
            execute(statement("move_stream"), moved)
        self._events, self._tags, self._moved = [], [], {}


def _row(position: int, stream: str | None, version: int, record: EventRecord, recorded_us: int) -> tuple[Any, ...]:
    kind = record.content_type
    plain = kind == JSON
    data = record.data.decode() if plain or is_json(kind) else record.data
    return (
        position,
        stream,
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
            transaction = Transaction(connection, look_ids_up=look_ids_up)
            outcomes = [_outcome(work, transaction) for work, _ in units]
            transaction.flush()
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise
        return outcomes


def _outcome(work: Callable[[Transaction], Any], transaction: Transaction) -> tuple[Any, BaseException | None]:
    try:
        return work(transaction), None
    except HeadwaterError as refusal:
        return None, refusal
