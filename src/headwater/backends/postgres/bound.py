"""Appends inside a transaction of the caller's own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any, cast

import psycopg
from psycopg import pq
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from headwater.backend import Appended, Write
from headwater.backends.postgres.calls import Calls
from headwater.backends.postgres.connections import Connection, fetched
from headwater.backends.postgres.faults import Fault, fault_of, translated
from headwater.backends.postgres.rows import EventOf
from headwater.backends.postgres.statements import Statements
from headwater.backends.postgres.units import Unit
from headwater.backends.postgres.url import Target
from headwater.errors import AppendConditionFailed, InvalidEvent, StoreUnavailable
from headwater.events import Event

__all__ = ["BoundAppender"]


class BoundAppender:
    """Appends by ``connection``, inside its open transaction: stored when, and only when, the caller commits.

    What an open transaction holds back, from its first append until its end:

    * readers of the whole log see nothing newer than what was there before that append (a reader must not pass a
      position that may still appear). Readers of single streams are not held back;
    * other appends to the same streams wait;
    * after an append with a condition (or with ``ordering=serialized``) every other append waits.

    So keep it short. Nothing is sent again by itself: where two transactions come into each other's way, PostgreSQL
    fails one of them, and the caller repeats the whole transaction. Conditions need a READ COMMITTED transaction.
    """

    def __init__(
        self, connection: Any, calls: Calls, statements: Statements, event_of: EventOf, target: Target
    ) -> None:
        if not isinstance(connection, (psycopg.AsyncConnection, psycopg.Connection)):
            raise InvalidEvent(
                f"the bound connection is a {type(connection).__module__}.{type(connection).__qualname__}",
                "Give a psycopg.AsyncConnection or psycopg.Connection to the store's database.",
            )
        self._connection = connection
        self._calls = calls
        self._statements = statements
        self._event_of = event_of
        self._target = target

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        """See ``Appender.append``. A refusal leaves the caller's transaction open and usable."""
        self._check_transaction()
        try:
            return await self._append(Unit(writes))
        except psycopg.Error as error:
            if fault_of(error, closed=self._connection.closed) is Fault.RACE:
                raise StoreUnavailable(
                    f"another transaction came in between ({error.sqlstate})", "Roll back and repeat the transaction."
                ) from error
            raise translated(error, self._target) from error

    async def _append(self, unit: Unit) -> list[Appended]:
        (numbers,) = await self._calls.send(self._ask, [unit], careful=True)
        results = unit.results(numbers) or await self._calls.explain(self._lent(), unit)
        if results is not None:
            return results
        failed = unit.failed_condition(numbers)
        if failed is not None:
            raise AppendConditionFailed(*failed)
        raise StoreUnavailable(
            "another transaction changed the stream during the append", "Roll back and repeat the transaction."
        )

    async def events(self, ids: Sequence[bytes]) -> list[Event]:
        """The events with these ids, as this transaction sees them, by position."""
        rows = await fetched(self._lent(), self._statements["events"], ([uuid.UUID(bytes=id) for id in ids],))
        return [self._event_of(row) for row in rows]

    async def last_event(self, stream: str, before: int, types: Sequence[str] | None) -> Event | None:
        """The last event of a stream below a version, of these types where given, as this transaction sees it."""
        values = {"stream": stream, "before": before, "types": None if types is None else list(types)}
        rows = await fetched(self._lent(), self._statements["last_event"], values)
        return self._event_of(rows[0]) if rows else None

    async def _ask(self, statement: str, parameters: Sequence[bytes | None]) -> bytes | None:
        """As ``direct.ask``, but by the driver, which keeps account of the caller's transaction."""
        texts = [None if each is None else each.decode() for each in parameters]
        connection = self._connection
        if isinstance(connection, psycopg.Connection):
            cursor = psycopg.RawCursor(connection, row_factory=tuple_row)
            row = await asyncio.to_thread(lambda: cursor.execute(statement, texts).fetchone())
        else:
            waiting = psycopg.AsyncRawCursor(connection, row_factory=tuple_row)
            row = await (await waiting.execute(statement, texts)).fetchone()
        return None if row is None or row[0] is None else str(row[0]).encode()

    def _lent(self) -> Connection:
        """The caller's connection, as far as ``explain`` uses it: rows are tuples and values are sent apart from the
        statement, whatever his own cursors do."""
        connection = self._connection
        if isinstance(connection, psycopg.Connection):
            return cast(Connection, _InThread(connection))
        return cast(Connection, _Tuples(connection))

    def _check_transaction(self) -> None:
        status = self._connection.info.transaction_status
        if status == TransactionStatus.INERROR:
            raise InvalidEvent("the bound connection's transaction has failed", "Roll it back, and begin another one.")
        if status == TransactionStatus.IDLE and self._connection.autocommit:
            raise InvalidEvent(
                "the bound connection has no open transaction",
                "Append inside `async with connection.transaction():`, or open the connection without autocommit.",
            )


class _Tuples:
    """An asynchronous connection as far as an append uses one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def cursor(self, *, binary: bool) -> psycopg.AsyncCursor[Any]:
        cursor = psycopg.AsyncCursor(self._connection, row_factory=tuple_row)
        cursor.format = pq.Format(binary)
        return cursor


class _InThread:
    """A blocking connection as far as an append uses one; each call of it runs in a thread."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def cursor(self, *, binary: bool) -> _CursorInThread:
        cursor = psycopg.Cursor(self._connection, row_factory=tuple_row)
        cursor.format = pq.Format(binary)
        return _CursorInThread(cursor)


class _CursorInThread:
    def __init__(self, cursor: psycopg.Cursor[Any]) -> None:
        self._cursor = cursor

    @property
    def description(self) -> Any:
        return self._cursor.description

    async def execute(self, statement: str, values: Any, *, prepare: bool) -> None:
        await asyncio.to_thread(self._cursor.execute, statement, values, prepare=prepare)

    async def fetchall(self) -> list[Any]:
        return await asyncio.to_thread(self._cursor.fetchall)
