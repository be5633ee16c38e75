"""Appends inside a transaction of the caller's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from headwater.backend import Appended, Write
from headwater.backends.postgres.calls import explain, send_many
from headwater.backends.postgres.faults import Fault, fault_of, translated
from headwater.backends.postgres.statements import Statements
from headwater.backends.postgres.units import Unit
from headwater.backends.postgres.url import Target
from headwater.errors import AppendConditionFailed, InvalidEvent, StoreUnavailable

__all__ = ["BoundAppender"]


class BoundAppender:
    """Appends by ``connection``, inside its open transaction: stored when, and only when, the caller commits.

    What an open transaction holds back, from its first append until its end:

    * readers of the whole log see nothing newer than what was there before that append (a reader must not pass a
      position that may still appear). Readers of single streams are not held back;
    * other appends to the same streams wait;
    * after an append with a condition (or with ``ordering=serialized``) every other append waits.

    So keep it short. Nothing is sent again by itself: where two transactions come into each other's way, PostgreSQL
    fails one of them, and the caller repeats the whole transaction.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any], statements: Statements, target: Target) -> None:
        self._connection = connection
        self._statements = statements
        self._target = target

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        """See ``Appender.append``. A refusal leaves the caller's transaction open and usable."""
        if self._connection.info.transaction_status not in (TransactionStatus.INTRANS, TransactionStatus.ACTIVE) and (
            self._connection.autocommit or self._connection.closed
        ):
            raise InvalidEvent(
                "the bound connection has no open transaction",
                "Append inside `async with connection.transaction():`, or open the connection without autocommit.",
            )
        unit = Unit(writes)
        exclusive = self._target.ordering == "serialized"
        try:
            shares = await send_many(self._connection, self._statements, [unit], exclusive=exclusive)
            results = unit.results(shares[0])
            if results is None:
                results = await explain(self._connection, self._statements, unit)
            failed = unit.failed_condition(shares[0])
        except psycopg.Error as error:
            raise self._failure(error) from error
        if results is not None:
            return results
        if failed is not None:
            raise AppendConditionFailed(*failed)
        raise StoreUnavailable(
            "another transaction changed the stream during the append", "Roll back and repeat the transaction."
        )

    def _failure(self, error: psycopg.Error) -> Exception:
        if fault_of(error, closed=self._connection.closed) is Fault.RACE:
            return StoreUnavailable(
                f"another transaction came in between ({error.sqlstate})", "Roll back and repeat the transaction."
            )
        return translated(error, self._target)
