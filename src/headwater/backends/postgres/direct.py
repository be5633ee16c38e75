"""One statement at a time over libpq, without what a cursor does for each: half the cost of a small call.

psycopg gives access to libpq's connection (``psycopg.pq``) for such cases. Texts only: the server converts. The
connection must be the caller's alone, in autocommit and idle.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from headwater.backends.postgres.connections import Connection

__all__ = ["ask"]

_prepared: WeakKeyDictionary[Connection, dict[str, bytes]] = WeakKeyDictionary()


async def ask(connection: Connection, statement: str, parameters: Sequence[bytes | None]) -> bytes | None:
    """The one value that a statement (with ``$1`` …) gives, as text. Prepares it once per connection.

    Raises ``psycopg.Error``. Where the caller is cancelled, the connection is closed: its call may still be done.
    """
    try:
        names = _prepared.setdefault(connection, {})
        name = names.get(statement)
        if name is None:
            name = b"headwater_%d" % len(names)
            connection.pgconn.send_prepare(name, statement.encode())
            await _answer(connection.pgconn)
            names[statement] = name
        connection.pgconn.send_query_prepared(name, parameters)
        result = await _answer(connection.pgconn)
    except asyncio.CancelledError:
        with contextlib.suppress(psycopg.Error):  # else a call that waits for a lock would hold others back meanwhile
            await connection.cancel_safe(timeout=2.0)
        await connection.close()
        raise
    return result.get_value(0, 0)


async def _answer(wire: PGconn) -> PGresult:
    """Send what is to be sent, wait for the answer. Raises ``psycopg.Error``."""
    while wire.flush():  # only where the socket's buffer is full
        await _ready(wire, writing=True)
        wire.consume_input()
    result: PGresult | None = None
    while True:
        while wire.is_busy():  # else get_result would block the loop, also after the last result
            await _ready(wire)
            wire.consume_input()
        following = wire.get_result()
        if following is None:
            break
        result = result or following
    if result is None:
        raise psycopg.OperationalError("the connection is lost")
    if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        raise psycopg.errors.error_from_result(result)
    return result


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
