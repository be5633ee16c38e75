"""Projections into a file of SQLite's."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from headwater.errors import BadUrl, StoreUnavailable
from headwater.projections.targets import Connection, Target, TargetFailed

__all__ = ["SQLiteTarget", "open"]

IDLE_MAX = 4
"""Connections kept for the next transaction."""

_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
"""Errors after which the same may succeed later."""

_NOTHING: Mapping[str, Any] = {}


def open(url: str, *, make: bool) -> Target:
    """``sqlite:///relative.db`` or ``sqlite:////absolute.db``, with ``?busy_timeout=seconds``."""
    parts = urlsplit(url)
    path = unquote(parts.path[1:])
    options = dict(parse_qsl(parts.query))
    try:
        busy = float(options.pop("busy_timeout", "30"))
    except ValueError:
        busy = -1.0
    if parts.netloc or not path or path == ":memory:" or parts.fragment or options or busy < 0:
        raise BadUrl(url, "it names no file to write to", "Write sqlite:///read.db, or sqlite:////var/lib/read.db.")
    file = Path(path).absolute()
    if not file.parent.is_dir():
        raise StoreUnavailable(f"the folder {file.parent} does not exist", "Make it.", transient=False)
    if not make and not file.exists():
        raise StoreUnavailable(
            f"there is no file {file}", "Check the name; running a projection makes it.", transient=False
        )
    return SQLiteTarget(file, busy)


class SQLiteTarget:
    """See ``Target``. One transaction at a time writes; others wait for it."""

    row_lock = ""  # a transaction that is to write holds the whole file
    differs = "is not"

    def __init__(self, file: Path, busy_seconds: float) -> None:
        self.name = str(file)
        self._uri = f"file:{quote(self.name)}?mode=rwc"
        self._busy_seconds = busy_seconds
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def transaction(self, *, alone: bool = False) -> Iterator[Connection]:
        with self._within("begin immediate") as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        with self._within("begin") as connection:
            yield connection

    @contextmanager
    def _within(self, begin: str) -> Iterator[_Connection]:
        try:
            connection = self._taken()
            try:
                connection.execute(begin)
                yield _Connection(connection)
                connection.execute("commit")
            finally:
                if connection.in_transaction:
                    connection.execute("rollback")
                self._give_back(connection)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING:
                raise StoreUnavailable(f"{self.name}: {error}", "Nothing of this transaction was written.") from error
            raise TargetFailed(self.name, str(error)) from error

    def _taken(self) -> sqlite3.Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        connection = sqlite3.connect(
            self._uri,
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=self._busy_seconds,
            cached_statements=256,
        )
        self._make_wal(connection)
        # Rows and positions stand in one file: what a power cut takes of both is simply done again.
        connection.execute("pragma synchronous = normal")
        return connection

    def _make_wal(self, connection: sqlite3.Connection) -> None:
        """So that readers do not wait for the projection. SQLite does not wait for its turn at this by itself."""
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                connection.execute("pragma journal_mode = wal")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(0.001)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if len(self._idle) < IDLE_MAX and not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def columns(self, connection: Connection, table: str) -> tuple[list[str], list[str]]:
        found = connection.rows("select name, pk from pragma_table_xinfo(:table) where hidden <> 1", {"table": table})
        key = sorted((place, name) for name, place in found if place)
        return [name for name, _ in found], [name for _, name in key]

    def replace_view(self, connection: Connection, view: str, table: str) -> None:
        connection.execute(f"drop view if exists {view}")
        connection.execute(f"create view {view} as select * from {table}")

    def close(self) -> None:
        with self._lock:
            self._closed = True  # what is still in use, in a thread that nobody waits for any more, is not kept
            while self._idle:
                self._idle.pop().close()


class _Connection:
    """SQLite knows ``:name`` itself."""

    __slots__ = ("_raw",)

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    def execute(self, sql: str, values: Mapping[str, Any] = _NOTHING) -> None:
        self._raw.execute(sql, values)

    def rows(self, sql: str, values: Mapping[str, Any] = _NOTHING) -> list[tuple[Any, ...]]:
        return self._raw.execute(sql, values).fetchall()

    def each(self, sql: str) -> Iterator[tuple[Any, ...]]:
        return self._raw.execute(sql)
