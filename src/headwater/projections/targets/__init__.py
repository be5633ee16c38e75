"""Where projections write: a database whose transactions hold rows and positions together.

SQLite and PostgreSQL are here, found by URL; for another database, implement ``Target`` and give it to a
``Projector``. What has no transactions takes an idempotent handler of ``store.consumer`` instead: each event comes
with its position.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from headwater.errors import BadUrl, HeadwaterError, StoreUnavailable

__all__ = ["Connection", "Target", "TargetFailed", "open_target"]

_ROOMS = {"sqlite": "sqlite", "postgresql": "postgres", "postgres": "postgres"}


class TargetFailed(HeadwaterError):
    """The database that a projection writes to refused a statement; the transaction was rolled back.

    Attributes: ``target``; ``reason``, in the database's words.
    """

    def __init__(self, target: str, reason: str) -> None:
        self.target = target
        self.reason = reason
        super().__init__(f"{target}: {reason}. Nothing of this transaction was written.")


class Connection(Protocol):
    """An open transaction. SQL has ``:name`` for values."""

    def execute(self, sql: str, values: Mapping[str, Any] = ...) -> None:
        """Run a statement that gives no rows."""
        ...

    def rows(self, sql: str, values: Mapping[str, Any] = ...) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        ...

    def each(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, some held at a time."""
        ...


class Target(Protocol):
    """A database for projections. Its methods block, and are called from several threads."""

    name: str
    """For messages: without a password."""
    row_lock: str
    """What a ``select`` ends in, to keep its row from others until the transaction ends (``for update``)."""
    differs: str
    """The operator that tells two values apart, NULL or not (``is distinct from``)."""

    def transaction(self, *, alone: bool = False) -> AbstractContextManager[Connection]:
        """A transaction: committed at the end, rolled back by an exception.

        The database's own errors become ``TargetFailed``; ``StoreUnavailable`` where the same may succeed later (it
        can't be reached, a deadlock), which a runner waits out. ``alone``: to change tables and views, one at a time.
        """
        ...

    def snapshot(self) -> AbstractContextManager[Connection]:
        """A transaction that reads one and the same state of everything."""
        ...

    def columns(self, connection: Connection, table: str) -> tuple[list[str], list[str]]:
        """The columns of a table, and those of its primary key, in order."""
        ...

    def replace_view(self, connection: Connection, view: str, table: str) -> None:
        """Make ``view`` show the rows of ``table``, whatever it showed before."""
        ...

    def close(self) -> None:
        """Let go of every connection. A second call does nothing."""
        ...


def open_target(url: str, *, make: bool = True) -> Target:
    """The target at the URL: ``sqlite:///read.db`` or ``postgresql://user@host/database?schema=name``.

    A store's own URL is fine: its tables and the projections' do not meet. A missing file or schema is made, if
    ``make``. Raises ``BadUrl`` and ``StoreUnavailable``.
    """
    scheme = url.partition(":")[0] if isinstance(url, str) else ""
    if scheme not in _ROOMS:
        raise BadUrl(str(url), "projections can't write there", "Give sqlite:///file.db, postgresql://…, or a Target.")
    try:
        room = importlib.import_module(f"headwater.projections.targets.{_ROOMS[scheme]}")
    except ModuleNotFoundError as missing:
        if missing.name != "psycopg":
            raise
        raise StoreUnavailable(
            "the package 'psycopg' is not installed",
            "Install the extra: pip install 'headwater[postgres]'.",
            transient=False,
        ) from None
    target: Target = room.open(url, make=make)
    return target
