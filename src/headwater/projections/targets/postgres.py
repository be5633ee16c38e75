"""Projections into a schema of PostgreSQL's."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote_plus

import psycopg
from psycopg import sql as quoting
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from headwater.errors import BadUrl, StoreUnavailable
from headwater.projections.statements import pyformat
from headwater.projections.targets import Connection, Target, TargetFailed

__all__ = ["PostgresTarget", "open"]

_STORES_OWN = ("ordering", "partition", "pool", "create")
"""Parameters of a store's URL that say nothing here."""

_PRIMARY_KEY = (
    "select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey) "
    "where i.indrelid = to_regclass(:table) and i.indisprimary order by array_position(i.indkey, a.attnum)"
)
_COLUMNS = (
    "select attname from pg_attribute where attrelid = to_regclass(:table) and attnum > 0 "
    "and not attisdropped order by attnum"
)
_TYPES = (
    "select attname, format_type(atttypid, atttypmod) from pg_attribute "
    "where attrelid = to_regclass(:table) and attnum > 0 and not attisdropped order by attnum"
)
_VIEW = _TYPES.replace(":table", ":view")
_NOTHING: Mapping[str, Any] = {}


def open(url: str, *, make: bool) -> Target:
    """``postgresql://user@host/database?schema=name`` (default ``public``); other parameters are libpq's."""
    address, _, query = url.partition("?")
    given = [part.partition("=") for part in query.split("&") if part]
    schema = next((unquote_plus(value) for name, _, value in given if name == "schema"), "public")
    rest = "&".join(name + mark + value for name, mark, value in given if name not in ("schema", *_STORES_OWN))
    shown = re.sub(r"(//[^/:@]*):[^@/]*@", r"\1:***@", address)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", schema) or schema.lower().startswith("pg_"):
        raise BadUrl(shown, f"the schema name {schema!r} can't be used", "Use letters, digits and _, at most 63.")
    try:
        facts = conninfo_to_dict(f"{address}?{rest}" if rest else address)
    except psycopg.ProgrammingError:
        raise BadUrl(
            shown, "the driver does not understand it", "postgresql://user@host/database?schema=name"
        ) from None
    conninfo = make_conninfo("", **{"connect_timeout": "10", "application_name": "headwater projections", **facts})
    return PostgresTarget(conninfo, schema, f"{shown} schema {schema}", make=make)


class PostgresTarget:
    """See ``Target``. Statements are sent in psycopg's pipeline mode: they do not wait for each other's outcome."""

    row_lock = "for update"
    differs = "is distinct from"

    def __init__(self, conninfo: str, schema: str, name: str, *, make: bool) -> None:
        self.name = name
        self.schema = schema
        self._conninfo = conninfo
        self._make = make
        self._idle: list[psycopg.Connection[tuple[Any, ...]]] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def transaction(self, *, alone: bool = False) -> Iterator[Connection]:
        with self._lent() as connection, connection.pipeline(), connection.transaction():
            lent = _Connection(connection)
            if alone:
                lent.execute(
                    "select pg_advisory_xact_lock(hashtext('headwater projections'), hashtext(current_schema))"
                )
            yield lent

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        with self._lent() as connection, connection.transaction():
            connection.execute("set transaction isolation level repeatable read, read only")
            yield _Connection(connection)

    @contextmanager
    def _lent(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        try:
            connection = self._taken()
            try:
                yield connection
            finally:
                self._give_back(connection)
        except psycopg.Error as error:
            reason = error.diag.message_primary or " ".join(str(error).split()) or type(error).__name__
            detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
            if isinstance(error, psycopg.OperationalError):  # the server went away, a deadlock, a full disk
                raise StoreUnavailable(
                    f"{self.name}: {reason.rstrip('.')}{detail}", "Nothing of this transaction was written."
                ) from error
            raise TargetFailed(self.name, reason.rstrip(".") + detail) from error

    def _taken(self) -> psycopg.Connection[tuple[Any, ...]]:
        with self._lock:
            while self._idle:
                if not (idle := self._idle.pop()).closed:
                    return idle
        connection = psycopg.connect(self._conninfo, autocommit=True)
        schema = quoting.Identifier(self.schema)
        found = connection.execute("select to_regnamespace(%s) is not null", [schema.as_string()]).fetchone()
        if found != (True,) and self._make:
            with connection.transaction():  # one at a time: IF NOT EXISTS does not keep two from making it
                connection.execute("select pg_advisory_xact_lock(hashtext('headwater projections'))")
                connection.execute(quoting.SQL("create schema if not exists {}").format(schema))
        connection.execute("select set_config('search_path', %s, false)", [self.path])
        return connection

    @property
    def path(self) -> str:
        """The search path under which the projections' tables are found by their names."""
        return ", ".join(dict.fromkeys([quoting.Identifier(self.schema).as_string(), '"public"']))

    def _give_back(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        usable = not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE
        with self._lock:
            if usable and not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def columns(self, connection: Connection, table: str) -> tuple[list[str], list[str]]:
        names = connection.rows(_COLUMNS, {"table": table})
        key = connection.rows(_PRIMARY_KEY, {"table": table})
        return [name for (name,) in names], [name for (name,) in key]

    def replace_view(self, connection: Connection, view: str, table: str) -> None:
        """In place where the columns allow it, so that grants and other views on it stay."""
        before = connection.rows(_VIEW, {"view": view})
        columns = connection.rows(_TYPES, {"table": table})
        if not before or columns[: len(before)] != before:
            connection.execute(f"drop view if exists {view}")
        connection.execute(f"create or replace view {view} as select * from {table}")

    def borrowed(self, connection: Any) -> Borrowed:
        """A connection of the caller's with its open transaction, for use in another thread than its event loop's."""
        return Borrowed(connection)

    def close(self) -> None:
        with self._lock:
            self._closed = True  # what is still in use, in a thread that nobody waits for any more, is not kept
            while self._idle:
                self._idle.pop().close()


class _Connection:
    """A connection inside a transaction."""

    __slots__ = ("_raw",)

    def __init__(self, raw: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._raw = raw

    def execute(self, sql: str, values: Mapping[str, Any] = _NOTHING) -> None:
        self._raw.execute(pyformat(sql).encode(), values)

    def rows(self, sql: str, values: Mapping[str, Any] = _NOTHING) -> list[tuple[Any, ...]]:
        return self._raw.execute(pyformat(sql).encode(), values).fetchall()

    def each(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """By a cursor of the server's."""
        with self._raw.cursor("headwater_rows") as cursor:
            cursor.itersize = 2_000
            yield from cursor.execute(pyformat(sql).encode(), {})


class Borrowed:
    """The caller's psycopg connection, of either kind, as handlers use one: blocking, in a thread."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._loop = asyncio.get_running_loop()

    def execute(self, sql: str, values: Mapping[str, Any] = _NOTHING) -> None:
        self._cursor(sql, values)

    def rows(self, sql: str, values: Mapping[str, Any] = _NOTHING) -> list[tuple[Any, ...]]:
        cursor = self._cursor(sql, values)
        rows: list[tuple[Any, ...]] = (
            cursor.fetchall() if isinstance(cursor, psycopg.Cursor) else self._awaited(cursor.fetchall())
        )
        return rows

    def each(self, sql: str) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows(sql))

    def _cursor(self, sql: str, values: Mapping[str, Any]) -> Any:
        statement = pyformat(sql).encode()
        if isinstance(self._raw, psycopg.Connection):
            return psycopg.Cursor(self._raw, row_factory=tuple_row).execute(statement, values)
        return self._awaited(psycopg.AsyncCursor(self._raw, row_factory=tuple_row).execute(statement, values))

    def _awaited(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
