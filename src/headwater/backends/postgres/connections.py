"""The store's connections: a pool, each connection set up once, and calls that survive a server's restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.adapt import AdaptersMap
from psycopg.types.numeric import Int8BinaryDumper
from psycopg_pool import AsyncConnectionPool

from headwater.backends.postgres.faults import Fault, fault_of, translated
from headwater.backends.postgres.statements import text_of
from headwater.backends.postgres.url import Target

__all__ = ["Connection", "Connections"]

T = TypeVar("T")

Connection = psycopg.AsyncConnection[Any]

PATIENCE = 15.0
"""For how many seconds a call goes on trying where the server can't be reached."""


class Connections:
    """At most ``target.pool`` connections, in autocommit: each statement is a transaction."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            target.conninfo,
            kwargs={"autocommit": True, "context": _adapters()},
            min_size=1,
            max_size=target.pool,
            timeout=PATIENCE,
            configure=_configure,
            open=False,
            name="headwater",
        )

    async def open(self) -> None:
        """Start the pool. The server was reached just before, so this waits for nothing."""
        await self._pool.open()

    async def take(self) -> Connection:
        """A connection of one's own, to be given back. Raises ``StoreUnavailable``.

        The pool waits by ``asyncio.wait_for``, which up to Python 3.11 forgets a cancellation that comes at the very
        moment when what it waits for does. A consumer would then go on for ever.
        """
        task = asyncio.current_task()
        before = task.cancelling() if task is not None else 0
        try:
            connection = await self._pool.getconn()
        except psycopg.Error as error:
            raise translated(error, self._target) from error
        if task is not None and task.cancelling() > before:
            await self.give_back(connection)
            raise asyncio.CancelledError
        return connection

    async def give_back(self, connection: Connection) -> None:
        """The pool drops a broken one, and makes another."""
        await self._pool.putconn(connection)

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Connection]:
        """A connection for a while."""
        connection = await self.take()
        try:
            yield connection
        finally:
            await self.give_back(connection)

    async def call(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run ``work``, which may be repeated, on a connection; again on another one where that breaks."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while True:
            connection = await self.take()
            try:
                return await work(connection)
            except psycopg.Error as error:
                lost = fault_of(error, closed=connection.closed) is Fault.LOST
                if not lost or asyncio.get_running_loop().time() > deadline:
                    raise translated(error, self._target) from error
            finally:
                await self.give_back(connection)
            await self.mend()

    async def rows(self, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
        """The rows of a statement that may be repeated."""

        async def work(connection: Connection) -> list[tuple[Any, ...]]:
            return await fetched(connection, statement, values)

        return await self.call(work)

    async def mend(self) -> None:
        """After a connection broke: look at the idle ones too, for mostly all broke at once. Then a short rest."""
        await self._pool.check()
        await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Close every connection. A second call does nothing."""
        await self._pool.close()


async def fetched(connection: Connection, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
    """The rows of a statement, prepared once per connection, values and rows in the protocol's binary form."""
    cursor = connection.cursor(binary=True)
    await cursor.execute(statement, values, prepare=True)
    return await cursor.fetchall() if cursor.description else []


def _adapters() -> AdaptersMap:
    """Every number is an int8: the driver's way, the least type that holds it, would prepare a plan for each mix."""
    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_dumper(int, Int8BinaryDumper)
    return adapters


async def _configure(connection: Connection) -> None:
    await connection.execute(text_of("connection.sql"))
