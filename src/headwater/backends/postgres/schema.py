"""The store's schema: printed, made, recognised, brought up to date."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import psycopg
from psycopg.rows import dict_row

from headwater.backends.postgres.faults import translated
from headwater.backends.postgres.statements import Statements, filled, names_of, quoted, statements_of, text_of
from headwater.backends.postgres.url import Target, checked_schema
from headwater.errors import CorruptStore, StoreUnavailable

__all__ = ["SCHEMA_VERSION", "Found", "checked_server", "matching", "prepare", "schema_sql"]

SCHEMA_VERSION = 2
LEAST_SERVER = 140000

_MOVES = {2: "records_2.sql"}
"""What each later version adds; of each, one file."""

_TABLES = ("tables_1.sql", "keeping_1.sql")
_FUNCTIONS = ("checks_1.sql", "append_1.sql", "horizon_1.sql", "places_1.sql", "visible_1.sql")


class Found(msgspec.Struct, frozen=True):
    """What stands at the URL, once ``prepare`` has made sure that it is a store."""

    version: int
    identity: str
    partition_size: int | None
    durable: bool
    """False where the server was set up to lose data (fsync=off)."""


def schema_sql(schema: str = "headwater", partition: int | None = None) -> str:
    """The SQL that makes a store, with its reasons as comments. ``partition``: positions per partition of the log."""
    checked_schema(schema, "schema_sql")
    parts = [f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)};", *_steps(schema, partition)]
    size = "NULL" if partition is None else str(int(partition))
    parts.append(
        f"INSERT INTO {quoted(schema)}.meta (schema_version, identity, partition_size)\n"
        f"VALUES ({SCHEMA_VERSION}, gen_random_uuid(), {size});"
    )
    if partition is not None:
        parts.append(f"SELECT {quoted(schema)}.make_partitions_v1({int(partition)});")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _steps(schema: str, partition: int | None) -> list[str]:
    names = names_of(schema, partition is not None)
    partitioning = "" if partition is None else "PARTITION BY RANGE (position)"
    tables = [filled(text_of(file), partitioning=partitioning, **names).replace(") ;", ");") for file in _TABLES]
    more = filled(text_of("whole_1.sql" if partition is None else "partitioned_1.sql"), **names)
    functions = [filled(text_of(file), **names) for file in _FUNCTIONS]
    return [*tables, more, *functions, *matching(names), *_steps_from(schema, 1)]


def matching(names: Mapping[str, str]) -> list[str]:
    """What makes the functions that find events by a query, in either direction."""
    directions = (("matches_v1", "ASC"), ("matches_backwards_v1", "DESC"))
    return [filled(text_of("matches_1.sql"), name=name, order=order, **names) for name, order in directions]


def _steps_from(schema: str, version: int) -> list[str]:
    """What moves a schema of this version forward."""
    names = names_of(schema, partitioned=False)
    return [filled(text_of(file), **names) for step, file in _MOVES.items() if step > version]


async def prepare(target: Target) -> Found:
    """Make sure that a store stands at the target; make it where there is none, bring it up to date where it is older.

    With ``create=no`` nothing is made, and an older schema stays as it is.

    Raises ``StoreUnavailable`` and ``CorruptStore``.
    """
    try:
        async with await psycopg.AsyncConnection.connect(target.conninfo, autocommit=True) as connection:
            looked = await _look(connection, target)
            if not looked["store_exists"]:
                if not target.create:
                    raise StoreUnavailable(
                        f"there is no store at {target.shown}",
                        "Check the name; an import or an append makes a store.",
                        transient=False,
                    )
                await _make(connection, target, looked["schema_exists"])
            elif target.create:
                await _move_forward(connection, target)
            return await _recognise(connection, target, bool(looked["fsync"]))
    except psycopg.Error as error:
        raise translated(error, target) from error


async def _look(connection: psycopg.AsyncConnection[Any], target: Target) -> dict[str, Any]:
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(text_of("looking.sql"), (target.schema, f"{quoted(target.schema)}.meta"))
    looked = await cursor.fetchone()
    assert looked is not None
    checked_server(looked, target)
    return looked


def checked_server(looked: Mapping[str, Any], target: Target) -> None:
    """Refuse a server that can't keep a store, from what was looked at: version, encoding, role.

    Raises ``StoreUnavailable``.
    """
    if looked["version_number"] < LEAST_SERVER:
        raise StoreUnavailable(
            f"{target.shown} runs PostgreSQL {looked['version']}", "Headwater needs 14 or later.", transient=False
        )
    if looked["encoding"] != "UTF8":
        raise StoreUnavailable(
            f"{target.shown} keeps its texts in {looked['encoding']}",
            "Use a database made with ENCODING 'UTF8'.",
            transient=False,
        )
    if looked["standby"]:
        raise StoreUnavailable(f"{target.shown} is a standby", "Name the primary server in the URL.")


async def _make(connection: psycopg.AsyncConnection[Any], target: Target, schema_exists: bool) -> None:
    """Make the schema in one transaction. Several openers may come at once: one makes it, the others wait for it."""
    async with connection.transaction():
        await connection.execute(
            "SELECT pg_advisory_xact_lock(hashtext('headwater schema'), hashtext(%s))", (target.schema,)
        )
        if not schema_exists:
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(target.schema)}")
        meta = f"{quoted(target.schema)}.meta"
        cursor = await connection.execute("SELECT to_regclass(%s) IS NOT NULL", (meta,))
        if await cursor.fetchone() == (True,):
            return
        try:
            for step in _steps(target.schema, target.partition):
                await connection.execute(step)
        except (psycopg.errors.DuplicateTable, psycopg.errors.DuplicateObject, psycopg.errors.DuplicateFunction) as bad:
            raise CorruptStore(
                target.shown, f"the schema holds something else already ({bad.diag.message_primary})", _OTHER_SCHEMA
            ) from None
        statements = statements_of(target.schema, target.partition is not None)
        await connection.execute(statements["save_meta"], (SCHEMA_VERSION, target.partition))
        if target.partition is not None:
            await connection.execute(statements["make_partitions"], (target.partition,))


async def _move_forward(connection: psycopg.AsyncConnection[Any], target: Target) -> None:
    """Bring an older schema up to date in one transaction; of several openers, one does it.

    Where this role may not, the schema stays as it is: what worked goes on, and what is new says what it needs.
    """
    statements = statements_of(target.schema, False)
    if await _version(connection, statements) >= SCHEMA_VERSION:
        return
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {quoted(target.schema)}.meta IN EXCLUSIVE MODE")
            for step in _steps_from(target.schema, await _version(connection, statements)):
                await connection.execute(step)
            await connection.execute(statements["save_schema_version"], (SCHEMA_VERSION,))
    except psycopg.errors.InsufficientPrivilege:
        pass


async def _version(connection: psycopg.AsyncConnection[Any], statements: Statements) -> int:
    """The schema's version; what is no store of ours counts as up to date, and is refused later."""
    try:
        cursor = await connection.execute(statements["meta"])
        row = await cursor.fetchone()
    except psycopg.errors.UndefinedColumn:
        return SCHEMA_VERSION
    return int(row[0]) if row else SCHEMA_VERSION


_OTHER_SCHEMA = "Give the store a schema of its own: ?schema=name."


async def _recognise(connection: psycopg.AsyncConnection[Any], target: Target, durable: bool) -> Found:
    try:
        cursor = await connection.execute(statements_of(target.schema, False)["meta"])
        row = await cursor.fetchone()
    except psycopg.errors.UndefinedColumn:
        raise CorruptStore(target.shown, "its table meta is not Headwater's", _OTHER_SCHEMA) from None
    if row is None:
        raise CorruptStore(target.shown, "the store's identity is missing", "Restore the schema from a backup.")
    version, identity, partition_size = row
    if version > SCHEMA_VERSION:
        raise StoreUnavailable(
            f"{target.shown} has schema {version}, made by a newer Headwater (this one knows {SCHEMA_VERSION})",
            "Upgrade headwater; nothing was changed.",
            transient=False,
        )
    await _check_sequence(connection, target)
    return Found(version, str(identity), partition_size, durable)


async def _check_sequence(connection: psycopg.AsyncConnection[Any], target: Target) -> None:
    cursor = await connection.execute(statements_of(target.schema, False)["sequence_is_sound"])
    if await cursor.fetchone() != (True,):
        raise CorruptStore(
            target.shown,
            "its sequence positions was altered: readers could miss events",
            f"Run: ALTER SEQUENCE {target.schema}.positions CACHE 1 INCREMENT 1 NO CYCLE.",
        )
