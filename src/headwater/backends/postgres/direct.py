"""One statement at a time over libpq, without what a cursor does for each: half the cost of a small call.

psycopg gives access to libpq's connection (``psycopg.pq``) for such cases. Parameters are texts: the server converts
them. The connection must be the caller's alone, in autocommit and idle.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg import capabilities
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

from headwater.backends.postgres.connections import Connection

__all__ = ["ask", "row_chunks"]

_GOOD = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK, ExecStatus.TUPLES_CHUNK, ExecStatus.SINGLE_TUPLE)

_numbers = itertools.count()  # no name is used twice: of those forgotten, the server may know some still
_prepared: WeakKeyDictionary[Connection, dict[str, bytes]] = WeakKeyDictionary()


async def ask(connection: Connection, statement: str, parameters: Sequence[bytes | None]) -> bytes | None:
    """The one value that a statement (with ``$1`` …) gives, as text. Prepares it once per connection.

    Raises ``psycopg.Error``. Where the caller is cancelled, the connection is closed: its call may still be done.
    """
    async with _closed_if_cancelled(connection):
        result = await _first_result(connection, statement, parameters)
        await _drain(connection.pgconn)
    return result.get_value(0, 0)


async def row_chunks(
    connection: Connection, statement: str, parameters: Sequence[bytes | None], size: int
) -> AsyncGenerator[list[tuple[Any, ...]]]:
    """The rows of a statement as they arrive, ``size`` at a time: whoever has enough stops, and holds no more of them.

    Values come in the protocol's binary form. An old libpq (before 17) gives one row at a time. Close the generator:
    it takes what is left off the wire. Raises ``psycopg.Error``; a cancelled caller's connection is closed.
    """
    wire = connection.pgconn
    async with _closed_if_cancelled(connection):
        result = await _first_result(connection, statement, parameters, size)
        loading = Transformer(connection)
        loading.set_pgresult(result)
        try:
            while result.status != ExecStatus.TUPLES_OK:
                loading.set_pgresult(result, set_loaders=False)
                yield loading.load_rows(0, result.ntuples, tuple)
                result = await _good_result(wire)
        except GeneratorExit:
            await _drain(wire)
            raise
        await _drain(wire)


@contextlib.asynccontextmanager
async def _closed_if_cancelled(connection: Connection) -> AsyncIterator[None]:
    try:
        yield
    except asyncio.CancelledError:
        with contextlib.suppress(psycopg.Error):  # else a call that waits for a lock would hold others back meanwhile
            await connection.cancel_safe(timeout=2.0)
        await connection.close()
        raise


async def _first_result(
    connection: Connection, statement: str, parameters: Sequence[bytes | None], chunk: int | None = None
) -> PGresult:
    """Send a statement and wait for its first result: of all rows as texts, or of a binary ``chunk`` of them.

    Where the name of the prepared statement is gone, it is prepared again: after a rollback of its own making, psycopg
    lets the server forget all names.
    """
    wire = connection.pgconn
    names = _prepared.setdefault(connection, {})
    while True:
        known = statement in names
        if not known:
            name = b"headwater_%d" % next(_numbers)
            wire.send_prepare(name, statement.encode())
            await _flush(wire)
            await _good_result(wire)
            await _drain(wire)
            names[statement] = name
        wire.send_query_prepared(names[statement], parameters, result_format=Format.BINARY if chunk else Format.TEXT)
        if chunk and capabilities.has_stream_chunked():
            wire.set_chunked_rows_mode(chunk)
        elif chunk:
            wire.set_single_row_mode()
        await _flush(wire)
        try:
            return await _good_result(wire)
        except psycopg.errors.InvalidSqlStatementName:
            if not known:
                raise
            names.clear()


async def _good_result(wire: PGconn) -> PGresult:
    """The next result, which must be there and no error; else ``psycopg.Error``, with nothing left on the wire."""
    result = await _next_result(wire)
    if result is None:
        raise psycopg.OperationalError("the connection is lost")
    if result.status not in _GOOD:
        await _drain(wire)
        raise psycopg.errors.error_from_result(result)
    return result


async def _flush(wire: PGconn) -> None:
    """Send what is to be sent."""
    while wire.flush():  # only where the socket's buffer is full
        await _ready(wire, writing=True)
        wire.consume_input()


async def _next_result(wire: PGconn) -> PGresult | None:
    """The next result, or None after the last one."""
    while wire.is_busy():  # else get_result would block the loop, also after the last result
        await _ready(wire)
        wire.consume_input()
    return wire.get_result()


async def _drain(wire: PGconn) -> None:
    """Take what is left of the answer off the wire."""
    while await _next_result(wire) is not None:
        pass


async def _ready(wire: PGconn, *, writing: bool = False) -> None:
    """Wait until the socket can be read (or, if ``writing``, written)."""
    loop = asyncio.get_running_loop()
    socket = wire.socket
    ready: asyncio.Future[Any] = loop.create_future()
    loop.add_reader(socket, _set, ready)
    if writing:
        loop.add_writer(socket, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(socket)
        if writing:
            loop.remove_writer(socket)


def _set(ready: asyncio.Future[Any]) -> None:
    if not ready.done():
        ready.set_result(None)
