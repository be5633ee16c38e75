"""What stands at the URL: Marten's tables, looked at; ours beside them, made where they are missing."""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg
from psycopg.rows import dict_row

from headwater.backends.marten.layout import functions_for, statements_for, tables_for
from headwater.backends.marten.shape import Shape, recognised
from headwater.backends.marten.url import Target
from headwater.backends.postgres.faults import translated
from headwater.backends.postgres.schema import checked_server
from headwater.backends.postgres.statements import Statements, quoted, text_of
from headwater.errors import CorruptStore, HeadwaterError, StoreUnavailable

__all__ = ["Found", "prepare"]

SCHEMA_VERSION = 1

Connection = psycopg.AsyncConnection[Any]


class Found(msgspec.Struct, frozen=True):
    """What stands at the URL, once ``prepare`` has seen to it."""

    shape: Shape
    identity: str
    durable: bool


async def prepare(target: Target) -> Found:
    """Recognise Marten's tables, and make sure of ours beside them.

    Raises ``StoreUnavailable`` and ``CorruptStore``. Marten's schema is never touched.
    """
    try:
        async with await psycopg.AsyncConnection.connect(target.server.conninfo, autocommit=True) as connection:
            looked = await _look(connection, target)
            shape = recognised(looked, target.marten, target.server.shown)
            statements = statements_for(target, shape)
            if not looked["own_exists"]:
                await _make(connection, target, shape, statements)
            identity = await _recognise(connection, target, statements)
            await _refresh(connection, target, shape, statements)
            return Found(shape, identity, bool(looked["fsync"]))
    except psycopg.Error as error:
        raise translated(error, target.server) from error


async def _look(connection: Connection, target: Target) -> dict[str, Any]:
    cursor = connection.cursor(row_factory=dict_row)
    own = f"{quoted(target.server.schema)}.meta"
    await cursor.execute(text_of("looking.sql", __package__), {"marten": target.marten, "own": own})
    looked = await cursor.fetchone()
    assert looked is not None
    checked_server(looked, target.server)
    return looked


async def _make(connection: Connection, target: Target, shape: Shape, statements: Statements) -> None:
    """Make our tables in one transaction. Several openers may come at once: one makes them, the others wait for it."""
    own = target.server.schema
    if not target.server.create:
        raise _not_made(target)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('headwater schema'), hashtext(%s))", (own,))
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(own)}")
            if await _one(connection, "SELECT to_regclass(%s) IS NOT NULL", (f"{quoted(own)}.meta",)):
                return
            for step in tables_for(target, shape):
                await connection.execute(step)
            await connection.execute(statements["save_meta"], (SCHEMA_VERSION, target.marten, target.tenant))
    except psycopg.errors.InsufficientPrivilege:
        raise _not_made(target) from None
    except (psycopg.errors.DuplicateTable, psycopg.errors.DuplicateObject) as bad:
        raise CorruptStore(
            target.server.shown, f"our schema {own} holds something else ({bad.diag.message_primary})", _ANOTHER
        ) from None


_ANOTHER = "Name another one in the URL: ?own=name."


def _not_made(target: Target) -> HeadwaterError:
    return StoreUnavailable(
        f"{target.server.shown}: there is no schema {target.server.schema}, for what Headwater keeps beside Marten's",
        "Open the store once as a role that may make it (no create=no in the URL).",
        transient=False,
    )


async def _recognise(connection: Connection, target: Target, statements: Statements) -> str:
    """The identity of the store, where our schema is beside this application's tables and this tenant's."""
    cursor = await connection.execute(statements["meta"])
    row = await cursor.fetchone()
    if row is None:
        raise CorruptStore(target.server.shown, "the store's identity is missing", "Restore our schema from a backup.")
    version, identity, marten, tenant, _ = row
    if version > SCHEMA_VERSION:
        raise StoreUnavailable(
            f"{target.server.shown}: our schema has version {version}, of a newer Headwater",
            "Upgrade headwater; nothing was changed.",
            transient=False,
        )
    if (marten, tenant) != (target.marten, target.tenant):
        raise CorruptStore(
            target.server.shown,
            f"our schema {target.server.schema} is beside schema {marten}, tenant {tenant}",
            _ANOTHER,
        )
    return str(identity)


async def _refresh(connection: Connection, target: Target, shape: Shape, statements: Statements) -> None:
    """Make our functions anew where Marten's tables have changed, or they are another version's."""
    functions, digest = functions_for(target, shape)
    cursor = await connection.execute(statements["meta"])
    row = await cursor.fetchone()
    if row is not None and row[4] == digest:
        return
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {quoted(target.server.schema)}.meta IN EXCLUSIVE MODE")
            for function in functions:
                await connection.execute(function)
            await connection.execute(statements["save_functions"], (digest,))
    except psycopg.errors.InsufficientPrivilege:
        raise StoreUnavailable(
            f"{target.server.shown}: Marten's tables have changed, and Headwater's functions in {target.server.schema} "
            "are to be made anew",
            "Open the store once as the owner of that schema.",
            transient=False,
        ) from None


async def _one(connection: Connection, statement: str, values: tuple[Any, ...] = ()) -> Any:
    cursor = await connection.execute(statement, values)
    row = await cursor.fetchone()
    assert row is not None
    return row[0]
