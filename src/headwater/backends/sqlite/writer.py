"""The file's writer: whoever commits takes all that waits, writes it as one transaction, and commits once.

Callers put units of work in a queue and wait for the reply; a thread takes them. A unit that is refused has written
nothing, so it costs its neighbours nothing. A caller without an event loop would only block while the thread works:
where nothing else waits it commits in its own thread instead, and saves two changes of thread.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from headwater.backends.sqlite.connections import StoreFile, begin, fault
from headwater.backends.sqlite.transaction import Heads, Transaction
from headwater.errors import HeadwaterError, StoreUnavailable
from headwater.waiting import Reply, running_loop, settle

__all__ = ["Outcome", "Work", "Writer"]

T = TypeVar("T")
Work = Callable[[Transaction], Any]
Outcome = tuple[Any, BaseException | None]

GROUP_UNITS_MAX = 1_000
"""Units committed together at most: bounds how long the first one waits for the last one's turn."""


class Writer:
    """The one writing connection of an open store, and the thread that serves it."""

    def __init__(self, connection: sqlite3.Connection, file: StoreFile, committed: Callable[[], None]) -> None:
        self._connection = connection
        self._heads = Heads(connection)
        self._file = file
        self._committed = committed
        self._queue: SimpleQueue[tuple[Work, Reply[Any]] | None] = SimpleQueue()
        self._turn = threading.Lock()  # held by whoever uses the connection
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="headwater-sqlite-writer", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[Transaction], T]) -> T:
        """Do ``work`` in the next transaction and return its result once that is committed and durable."""
        if running_loop() is None and self._queue.empty() and self._turn.acquire(blocking=False):
            return self._run_here(work)
        reply: Reply[T] = Reply()
        with self._closing:
            self._check_open()
            self._queue.put((work, reply))
        return await reply

    def _run_here(self, work: Callable[[Transaction], T]) -> T:
        try:
            self._check_open()
            value, failed = self._commit([work])[0]
        finally:
            self._turn.release()
        self._committed()
        if failed is not None:
            raise failed
        result: T = value
        return result

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"{self._file.path} was closed", "Open it again.", transient=False)

    def close(self) -> None:
        """Commit what waits, then end the thread."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()
        with self._turn:  # a caller may still be committing in its own thread
            pass

    def _serve(self) -> None:
        last = False
        while not last:
            units, last = self._waiting_units()
            if not units:
                continue
            with self._turn:
                outcomes = self._commit([work for work, _ in units])
            for (_, reply), (value, failed) in zip(units, outcomes, strict=True):
                reply.answer(value, failed)
            settle([reply for _, reply in units])
            self._committed()

    def _waiting_units(self) -> tuple[list[tuple[Work, Reply[Any]]], bool]:
        """All units that wait (at least one, unless the writer is closing), and whether they are the last."""
        unit = self._queue.get()
        units = []
        while unit is not None:
            units.append(unit)
            if len(units) == GROUP_UNITS_MAX:
                return units, False
            try:
                unit = self._queue.get_nowait()
            except Empty:
                return units, False
        return units, True

    def _commit(self, group: Sequence[Work]) -> list[Outcome]:
        """Do all in one transaction, and say what came of each. Raises nothing: nobody may wait for ever."""
        try:
            try:
                return self._transact(group, look_ids_up=False)
            except sqlite3.IntegrityError:  # some id is stored already
                return [self._transact_alone(work) for work in group]
        except sqlite3.Error as error:
            return [(None, fault(error, self._file)) for _ in group]
        except BaseException as error:
            return [(None, error)] * len(group)

    def _transact_alone(self, work: Work) -> Outcome:
        try:
            return self._transact([work], look_ids_up=True)[0]
        except sqlite3.Error as error:
            return None, fault(error, self._file)

    def _transact(self, group: Sequence[Work], *, look_ids_up: bool) -> list[Outcome]:
        connection = self._connection
        begin(connection, self._file)
        try:
            self._heads.refresh()
            position = self._heads.position
            transaction = Transaction(connection, self._heads, look_ids_up=look_ids_up)
            outcomes = [_outcome(work, transaction) for work in group]
            transaction.flush()
            self._before_commit(transaction, position, outcomes)
            connection.execute("commit")
        except BaseException:
            self._heads.forget()
            if connection.in_transaction:
                connection.execute("rollback")
            raise
        return outcomes

    def _before_commit(self, transaction: Transaction, position: int, outcomes: list[Outcome]) -> None:
        """For writers that must do something else first. ``position``: of the log before the transaction."""


def _outcome(work: Work, transaction: Transaction) -> Outcome:
    try:
        return work(transaction), None
    except HeadwaterError as refusal:
        return None, refusal
