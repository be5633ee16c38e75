"""The SQLite backend: the contract, spread over the writer thread and the readers' connections."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from time import monotonic
from typing import Any, NoReturn, TypeVar

from headwater.appending import check_deletion
from headwater.backend import (
    Appended,
    Capabilities,
    Examined,
    Page,
    Record,
    RecordChange,
    Snapshot,
    StreamInfo,
    StreamPolicy,
    Write,
)
from headwater.backends.sqlite import reader, records
from headwater.backends.sqlite.connections import StoreFile, connection_to, faults_of, in_turn, parse_url
from headwater.backends.sqlite.examining import examine
from headwater.backends.sqlite.schema import prepare, statement
from headwater.backends.sqlite.transaction import Transaction
from headwater.backends.sqlite.writer import Writer
from headwater.errors import NotSupported, StoreUnavailable
from headwater.events import Event, now_us
from headwater.limits import Limits
from headwater.queries import ANY, ExpectedVersion, Query
from headwater.waiting import Signal, call

__all__ = ["SQLiteBackend", "open"]

T = TypeVar("T")

CAPABILITIES = Capabilities(
    backend="sqlite",
    durable=True,
    shared=True,
    order="total",
    gapless_positions=True,
    append_condition=True,
    atomic_streams=True,
    read_backwards=True,
    caller_transaction=False,
    stream_policies=True,
    snapshots=True,
    checkpoints=True,
    records=True,
)

READERS_MAX = 4
"""Threads that read for tasks; SQLite reads are short and mostly from memory."""

POLL_SECONDS = 0.01
"""How often a waiter looks whether another process has written. This process's appends wake it at once."""


async def open(url: str, limits: Limits) -> SQLiteBackend:
    """The store in the URL's file, which is made where it does not exist."""
    file = parse_url(url)
    readers = ThreadPoolExecutor(READERS_MAX, thread_name_prefix="headwater-sqlite-reader")
    try:
        connection, identity = await call(readers, _prepared, file)
    except BaseException:
        readers.shutdown()
        raise
    return SQLiteBackend(file, connection, identity, readers, limits.page_bytes_max)


def _prepared(file: StoreFile) -> tuple[sqlite3.Connection, str]:
    with faults_of(file):
        return in_turn(file, lambda: _prepared_now(file))  # several processes may make the file at the same time


def _prepared_now(file: StoreFile) -> tuple[sqlite3.Connection, str]:
    connection = connection_to(file, writing=True)
    try:
        return connection, prepare(connection, file)
    except BaseException:
        connection.close()
        raise


class SQLiteBackend:
    """See ``headwater.backend.Backend``."""

    capabilities = CAPABILITIES
    stepped = True

    def __init__(
        self,
        file: StoreFile,
        connection: sqlite3.Connection,
        identity: str,
        readers: ThreadPoolExecutor,
        page_bytes_max: int,
        writer: Writer | None = None,
    ) -> None:
        self.identity = identity
        self._page_bytes_max = page_bytes_max
        self._file = file
        self._pid = os.getpid()
        self._signal = Signal()
        self._readers = readers
        self._idle: list[sqlite3.Connection] = []
        self._connection = connection
        self._writer = writer or Writer(connection, file, self._signal.notify)
        self._closing = threading.Lock()
        self._closed = False

    async def _write(self, work: Callable[[Transaction], T]) -> T:
        self._check_usable()
        if self._file.read_only:
            raise StoreUnavailable(
                f"{self._file.path} was opened read-only", "Open it without mode=ro to write.", transient=False
            )
        return await self._writer.run(work)

    async def _read(self, function: Callable[..., T], *arguments: Any) -> T:
        self._check_usable()
        return await call(self._readers, self._with_connection, function, arguments)

    def _with_connection(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        with faults_of(self._file):
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = in_turn(self._file, lambda: connection_to(self._file, writing=False))
            try:
                return function(connection, *arguments)
            finally:
                if len(self._idle) < READERS_MAX and not self._closed:
                    self._idle.append(connection)
                else:
                    connection.close()

    def _check_usable(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"{self._file.path} was closed", "Open it again.", transient=False)
        if os.getpid() != self._pid:
            raise StoreUnavailable(
                f"{self._file.path} was opened before this process was forked",
                "Open the store in the process that uses it.",
                transient=False,
            )

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        return await self._write(lambda transaction: transaction.append(writes))

    def bind(self, connection: Any) -> NoReturn:
        raise NotSupported("the SQLite backend", "appends in a caller's transaction", "Use append or append_all.")

    async def read_stream(self, stream: str, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        return await self._read(reader.read_stream, stream, after, before, limit, backwards, self._page_bytes_max)

    async def read_all(self, query: Query | None, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        return await self._read(reader.read_log, query, after, before, limit, backwards, self._page_bytes_max)

    async def head(self) -> int:
        return await self._last()

    async def _last(self) -> int:
        """The last position in the file."""
        return await self._read(reader.head)

    async def wait(self, after: int, seconds: float) -> bool:
        deadline = monotonic() + seconds
        while True:
            news = self._signal.subscribe()
            try:
                if await self._last() > after:
                    return True
                left = deadline - monotonic()
                if left <= 0:
                    return False
                await self._signal.wait(news, min(left, POLL_SECONDS))
            finally:
                self._signal.cancel(news)

    async def event(self, id: bytes) -> Event | None:
        return await self._read(reader.event_by_id, id)

    async def stream(self, name: str) -> StreamInfo | None:
        return await self._read(reader.stream_info, name)

    async def streams(self, category: str | None, prefix: str | None, after: str, limit: int) -> list[StreamInfo]:
        return await self._read(reader.stream_infos, category, prefix, after, limit)

    async def categories(self) -> list[tuple[str, int]]:
        return await self._read(reader.categories)

    async def set_policy(self, stream: str, policy: StreamPolicy) -> None:
        def work(transaction: Transaction) -> None:
            head = transaction.heads.of(stream)
            check_deletion(stream, ANY, head.version, head.state, tombstone=False)
            max_age_us = None if policy.max_age is None else policy.max_age // timedelta(microseconds=1)
            values = {"truncate_before": policy.truncate_before, "max_age_us": max_age_us}
            values |= {"max_count": policy.max_count}
            transaction.flush()
            transaction.connection.execute(statement("set_policy"), {"name": stream, **values})

        await self._write(work)

    async def delete_stream(self, stream: str, expected: ExpectedVersion, tombstone: bool) -> None:
        def work(transaction: Transaction) -> None:
            head = transaction.heads.of(stream)
            check_deletion(stream, expected, head.version, head.state, tombstone=tombstone)
            transaction.delete(stream, "tombstoned" if tombstone else "deleted")

        await self._write(work)

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        values = (snapshot.name, snapshot.version, snapshot.raw_state, snapshot.content_type, snapshot.schema)
        await self._write(lambda t: _execute(t, statement("save_snapshot"), (*values, now_us())))

    async def load_snapshot(self, name: str) -> Snapshot | None:
        rows = await self._read(_rows, statement("load_snapshot"), (name,))
        return Snapshot(*rows[0]) if rows else None

    async def load_snapshots(self, after: str, limit: int) -> list[Snapshot]:
        return [Snapshot(*row) for row in await self._read(_rows, statement("load_snapshots"), (after, limit))]

    async def delete_snapshot(self, name: str) -> None:
        await self._write(lambda t: _execute(t, "delete from snapshots where name = ?", (name,)))

    async def save_checkpoint(self, name: str, position: int) -> None:
        await self._write(lambda t: _execute(t, statement("save_checkpoint"), (name, position, now_us())))

    async def load_checkpoint(self, name: str) -> int | None:
        rows = await self._read(_rows, "select position from checkpoints where name = ?", (name,))
        return rows[0][0] if rows else None

    async def load_records(self, prefix: str, after: str = "", limit: int = 10_000) -> list[Record]:
        return await self._read(records.load_records, prefix, after, limit)

    async def save_records(self, changes: Sequence[RecordChange]) -> list[int]:
        return await self._write(lambda transaction: records.save_records(transaction, changes))

    async def scrub(self) -> str:
        self._check_usable()
        return await call(self._readers, self._scrub)

    def _scrub(self) -> str:
        """What is removed or replaced is overwritten as it is done (``secure_delete``); the log of writes still holds
        what stood there."""
        with faults_of(self._file), contextlib.closing(connection_to(self._file, writing=True)) as connection:
            connection.execute(f"pragma busy_timeout = {int(min(self._file.busy_seconds, 5.0) * 1000)}")
            (busy, _, _) = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
        return "readers of the file kept its write-ahead log (-wal) from being emptied: do it again" if busy else ""

    async def examine(self) -> list[Examined]:
        return await self._read(examine, self._file)

    async def close(self) -> None:
        with self._closing:
            if self._closed:
                return
            self._closed = True
        if os.getpid() == self._pid:
            await call(self._readers, self._close)
            self._readers.shutdown(wait=False)

    def _close(self) -> None:
        self._writer.close()
        self._close_readers()
        self._connection.close()  # the last connection of all processes folds the write-ahead log into the file
        self._signal.notify()

    def _close_readers(self) -> None:
        while self._idle:
            self._idle.pop().close()


def _execute(transaction: Transaction, sql: str, values: tuple[Any, ...]) -> None:
    transaction.connection.execute(sql, values)


def _rows(connection: sqlite3.Connection, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    return connection.execute(sql, values).fetchall()
