"""Statements sent straight over libpq: in chunks, after errors, and beside a driver that forgets names."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import psycopg
import pytest
from tests.unit.backends.postgres.conftest import Connection

from headwater.backends.postgres.direct import ask, row_chunks

NUMBERS = "SELECT n FROM generate_series(1, $1::int8) AS n"


async def first_chunks(connection: Connection, rows: int, chunks: int, statement: str = NUMBERS) -> list[int]:
    """The numbers in the first chunks of four."""
    found: list[int] = []
    async with aclosing(row_chunks(connection, statement, [b"%d" % rows], 4)) as given:
        async for chunk in given:
            found += [number for (number,) in chunk]
            chunks -= 1
            if not chunks:
                break
    return found


async def test_rows_come_in_chunks_and_whoever_has_enough_stops(admin: Connection) -> None:
    assert await first_chunks(admin, 10, -1) == list(range(1, 11))
    assert await first_chunks(admin, 100_000, 2) == list(range(1, 9))
    assert await first_chunks(admin, 0, -1) == []
    assert await ask(admin, "SELECT $1::int8 + 1", [b"41"]) == b"42"


async def test_a_connection_is_usable_after_an_error(admin: Connection) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        await ask(admin, "SELECT 1 / $1::int8", [b"0"])
    late = "SELECT 1 / (50 - n) FROM generate_series(1, $1::int8) AS n"
    with pytest.raises(psycopg.errors.DivisionByZero):
        await first_chunks(admin, 100, -1, late)
    assert admin.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert await first_chunks(admin, 3, -1) == [1, 2, 3]


async def test_names_that_the_server_forgot_are_prepared_again(admin: Connection) -> None:
    """psycopg has the server forget every prepared statement at its next call after a rollback."""
    statements = [f"SELECT $1::int8 + {n}" for n in range(3)]
    for statement in statements[:2]:
        assert await ask(admin, statement, [b"1"])
    await admin.execute("DEALLOCATE ALL")
    for n in (2, 0, 1):
        assert await ask(admin, statements[n], [b"1"]) == b"%d" % (1 + n)
    await admin.execute("DEALLOCATE ALL")
    assert await first_chunks(admin, 3, -1) == [1, 2, 3]


async def test_who_is_cancelled_leaves_no_statement_running(admin: Connection, postgres_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        pid = connection.info.backend_pid
        waiting = asyncio.create_task(ask(connection, "SELECT pg_sleep($1::int8)::text", [b"600"]))
        running = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
        while not await count(admin, running, pid):
            await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert connection.closed
        while await count(admin, running, pid):
            await asyncio.sleep(0.01)


async def count(admin: Connection, query: str, pid: int) -> int:
    cursor = await admin.execute(query, (pid,))
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
