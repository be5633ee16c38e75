"""Records beside the log: small values by name, changed by compare-and-swap in the writer's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from headwater.backend import Record, RecordChange, beyond
from headwater.backends.sqlite.schema import statement
from headwater.backends.sqlite.transaction import Transaction
from headwater.errors import StaleRecord
from headwater.events import now_us

__all__ = ["load_records", "save_records"]


def load_records(connection: sqlite3.Connection, prefix: str, after: str, limit: int) -> list[Record]:
    """See ``Backend.load_records``. A file of schema 1 that was opened read-only has none."""
    if not connection.execute("select 1 from sqlite_schema where name = 'records'").fetchone():
        return []
    rows = connection.execute(statement("load_records"), (after, prefix, beyond(prefix), limit)).fetchall()
    now = now_us()
    return [Record(name, value, revision, max(0, now - saved_us)) for name, value, revision, saved_us in rows]


def save_records(transaction: Transaction, changes: Sequence[RecordChange]) -> list[int]:
    """See ``Backend.save_records``. All is checked before anything is written: a refused unit has written nothing."""
    connection = transaction.connection
    present = {change.name: _revision(connection, change.name) for change in changes}
    for change in changes:
        if change.expected not in (None, present[change.name]):
            raise StaleRecord(change.name)
    revisions = []
    for change in changes:
        if change.value is None:
            connection.execute("delete from records where name = ?", (change.name,))
            revisions.append(0)
        else:
            now = now_us()
            revision = max(now, present[change.name] + 1)
            connection.execute(statement("save_record"), (change.name, change.value, revision, now))
            revisions.append(revision)
    return revisions


def _revision(connection: sqlite3.Connection, name: str) -> int:
    row = connection.execute("select revision from records where name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0
