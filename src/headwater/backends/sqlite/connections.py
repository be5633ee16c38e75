"""Connections to the file, how long to wait for other processes, and SQLite's errors in our words."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

from headwater.errors import BadUrl, CorruptStore, HeadwaterError, StoreUnavailable

__all__ = ["StoreFile", "begin", "connection_to", "faults_of", "in_turn", "parse_url"]

T = TypeVar("T")

WRITER_CACHE_BYTES = 67_108_864
"""Pages the writer keeps: the upper levels of every index of a store of many millions of events."""
READER_CACHE_BYTES = 8_388_608
"""Pages a reader keeps. The operating system caches the file; what is read once need not be kept twice."""

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class StoreFile(msgspec.Struct, frozen=True):
    """Which file, and how to treat it."""

    path: Path
    read_only: bool = False
    busy_seconds: float = 30.0
    """How long to wait for another process to finish its commit."""


def parse_url(url: str) -> StoreFile:
    """``sqlite:///relative.db`` or ``sqlite:////absolute.db``, with ``?mode=ro`` and ``&busy_timeout=seconds``."""
    example = "Write sqlite:///loans.db for a file here, or sqlite:////var/lib/loans.db for an absolute path."
    parts = urlsplit(url)
    path = unquote(parts.path[1:])
    if parts.netloc or not path or parts.fragment:
        raise BadUrl(url, "it names no file", example)
    if path == ":memory:":
        raise BadUrl(url, "a store in memory has no file", 'Write "memory:" for a store that ends with its process.')
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    mode, busy = options.pop("mode", "rwc"), options.pop("busy_timeout", "30")
    if options:
        raise BadUrl(url, f"the option {next(iter(options))!r} is not known", "Options: mode=ro, busy_timeout=seconds.")
    if mode not in ("rwc", "ro"):
        raise BadUrl(url, f"mode is {mode!r}", "Leave it out, or write mode=ro to read only.")
    try:
        busy_seconds = float(busy)
    except ValueError:
        busy_seconds = -1.0
    if not 0 <= busy_seconds <= 86_400:
        raise BadUrl(url, f"busy_timeout is {busy!r}", "Write a number of seconds, e.g. busy_timeout=30.")
    return StoreFile(Path(path).absolute(), mode == "ro", busy_seconds)


def connection_to(file: StoreFile, *, writing: bool) -> sqlite3.Connection:
    """A new connection, usable from any thread (one at a time). A reader's can't write, whatever happens.

    Raises SQLite's own errors.
    """
    if not os.path.isdir(file.path.parent):  # which is False, not an error, where we may not look
        raise StoreUnavailable(
            f"the folder {file.path.parent} does not exist", "Make it, or name another file.", transient=False
        )
    mode = "rwc" if writing and not file.read_only else "ro" if file.read_only else "rw"
    connection = sqlite3.connect(
        f"file:{quote(str(file.path))}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=0 if writing else file.busy_seconds,
        cached_statements=256,
    )
    connection.execute(f"pragma cache_size = -{(WRITER_CACHE_BYTES if writing else READER_CACHE_BYTES) // 1024}")
    if writing:
        connection.execute("pragma synchronous = full")
        connection.execute("pragma secure_delete = on")  # a key that was destroyed must not stand in free pages
        connection.execute("pragma journal_size_limit = 67108864")
    else:
        connection.execute("pragma query_only = on")
    return connection


def begin(connection: sqlite3.Connection, file: StoreFile) -> None:
    """Become the file's one writer, waiting for other processes in turn."""
    in_turn(file, lambda: connection.execute("begin immediate"))


def in_turn(file: StoreFile, work: Callable[[], T]) -> T:
    """Do what other processes' locks may be in the way of, again until they are not.

    SQLite's own busy handler sleeps up to 100 ms at a time; commits here take a fraction of a millisecond, so short
    random sleeps serve many processes better. And it is not asked at all while a file becomes one with a WAL.
    """
    deadline = time.monotonic() + file.busy_seconds
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _BUSY or time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0.0001, 0.002))


@contextlib.contextmanager
def faults_of(file: StoreFile) -> Iterator[None]:
    """Turn SQLite's errors into ours, with what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise fault(error, file) from error


def fault(error: sqlite3.Error, file: StoreFile) -> HeadwaterError:
    """Our error for SQLite's. Whatever it was, the transaction under way was rolled back."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    where = str(file.path)
    if code in _BUSY:
        return StoreUnavailable(
            f"{where} has been locked by another process for {file.busy_seconds:g} s",
            "Find the process that holds a transaction open, or raise busy_timeout in the URL. Nothing was written.",
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreUnavailable(f"the disk of {where} is full", "Free some room, then append again: nothing was lost.")
    if code == sqlite3.SQLITE_READONLY:
        return StoreUnavailable(
            f"{where} can't be written by this process",
            "Give it write permission on the file and its folder. Nothing was written.",
            transient=False,
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StoreUnavailable(
            f"{where} can't be opened ({error})", "Check that it exists and may be read.", transient=False
        )
    if code in _CORRUPT:
        return CorruptStore(where, f"SQLite finds it damaged or not a database ({error})", "Restore it from a backup.")
    if code == sqlite3.SQLITE_IOERR:
        return StoreUnavailable(
            f"the disk of {where} failed ({error})", "Check the disk and its quota. This append was not written."
        )
    return StoreUnavailable(f"SQLite failed on {where} ({error})", "The transaction was rolled back.")
