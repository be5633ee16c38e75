"""The schema of the file: made on first open, recognised on every other, moved forward when it is older."""

from __future__ import annotations

import sqlite3
import uuid
from functools import cache
from importlib.resources import files

from headwater.backend import StreamState
from headwater.backends.sqlite.connections import StoreFile, begin
from headwater.errors import CorruptStore, StoreUnavailable
from headwater.events import now_us

__all__ = ["SCHEMA_VERSION", "STATES", "named_statements", "prepare", "schema_sql", "statement"]

SCHEMA_VERSION = 2
"""Kept in the file's ``user_version``. Each step up is a file ``sql/schema_<version>.sql``."""

STATES: tuple[StreamState, ...] = ("open", "deleted", "tombstoned")
"""As ``streams.state`` numbers them."""

APPLICATION_ID = 0x48575452
"""``HWTR``, kept in the file's ``application_id``: how tools tell what this SQLite file is."""


@cache
def statement(name: str) -> str:
    """The statement of this name from ``sql/statements.sql``, without its closing semicolon."""
    return _statements()[name]


@cache
def _statements() -> dict[str, str]:
    return named_statements(_sql("statements.sql"))


def named_statements(text: str) -> dict[str, str]:
    """The statements of a script, by the names in the comments before them, without closing semicolons."""
    blocks = text.split("-- name: ")[1:]
    named = (block.partition("\n") for block in blocks)
    return {name.strip(): _without_comments(text).strip().rstrip(";") for name, _, text in named}


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("--"))


def _sql(name: str) -> str:
    return (files("headwater.backends.sqlite") / "sql" / name).read_text(encoding="utf-8")


def schema_sql() -> str:
    """The statements that make the schema, with the reason for each table and index, as they are run."""
    return "\n".join(_sql(f"schema_{version}.sql") for version in range(1, SCHEMA_VERSION + 1))


def prepare(connection: sqlite3.Connection, file: StoreFile) -> str:
    """Make the schema where the file is new, move it forward where it is older, and return the store's identity.

    Raises ``CorruptStore`` where the file is something else, ``StoreUnavailable`` where its schema is newer than
    this Headwater knows, SQLite's own errors where it can't be read. A file that can't be written keeps an older
    schema.
    """
    connection.execute("begin")  # one state of the file, whatever another process is doing to it
    try:
        found = _found_version(connection, file)
    finally:
        connection.execute("rollback")
    if found < SCHEMA_VERSION and not (found and file.read_only):
        try:
            _move_forward(connection, file)
        except sqlite3.OperationalError as error:
            if not found or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
                raise
    row = connection.execute("select value from meta where key = 'identity'").fetchone()
    if row is None:
        raise CorruptStore(str(file.path), "the store's identity is missing", "Restore the file from a backup.")
    return str(row[0])


def _found_version(connection: sqlite3.Connection, file: StoreFile) -> int:
    """The version of the store's schema, 0 for an empty file; everything else is refused."""
    version = connection.execute("pragma user_version").fetchone()[0]
    application = connection.execute("pragma application_id").fetchone()[0]
    if application == APPLICATION_ID:
        if version > SCHEMA_VERSION:
            raise StoreUnavailable(
                f"{file.path} has schema {version}, made by a newer Headwater (this one knows {SCHEMA_VERSION})",
                "Upgrade headwater; nothing was changed.",
                transient=False,
            )
        return int(version)
    tables = connection.execute("select count(*) from sqlite_schema").fetchone()[0]
    if tables or application or version:
        raise CorruptStore(
            str(file.path), "it is an SQLite file, but not a Headwater store", "Name another file for the store."
        )
    if file.read_only:
        raise StoreUnavailable(
            f"{file.path} is empty and was opened read-only", "Open it without mode=ro once.", transient=False
        )
    return 0


def _move_forward(connection: sqlite3.Connection, file: StoreFile) -> None:
    connection.execute("pragma journal_mode = wal")
    begin(connection, file)
    try:
        _make(connection, _found_version(connection, file))  # another process may have been first
        connection.execute("commit")
    except BaseException:
        connection.execute("rollback")
        raise


def _make(connection: sqlite3.Connection, found: int) -> None:
    for version in range(found + 1, SCHEMA_VERSION + 1):
        for part in _script(_sql(f"schema_{version}.sql")):
            connection.execute(part)
    if not found:
        facts = {"identity": str(uuid.uuid4()), "created_us": str(now_us())}
        connection.executemany("insert into meta (key, value) values (?, ?)", facts.items())
    connection.execute(f"pragma application_id = {APPLICATION_ID}")
    connection.execute(f"pragma user_version = {SCHEMA_VERSION}")


def _script(text: str) -> list[str]:
    """The single statements of a script; ``executescript`` would commit the transaction that we are in."""
    parts, part = [], ""
    for line in text.splitlines(keepends=True):
        part += line
        if sqlite3.complete_statement(part):
            parts.append(part)
            part = ""
    return parts
