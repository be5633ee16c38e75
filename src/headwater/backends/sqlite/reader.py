"""Reading: pages of a stream, pages of the log, streams and categories."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from headwater.backend import Page, StreamInfo, StreamPolicy, size_of
from headwater.backends.sqlite.querying import END, leaves_of, page_sql
from headwater.backends.sqlite.schema import STATES, statement
from headwater.events import JSON, Event, category_of, now_us
from headwater.queries import Query

__all__ = [
    "categories",
    "event_by_id",
    "events_after",
    "first_match",
    "head",
    "read_log",
    "read_stream",
    "stream_info",
    "stream_infos",
]

CHUNK = 16
"""Rows taken from the database at a time; between two chunks, the size of the page is looked at."""


def head(connection: sqlite3.Connection) -> int:
    """The last position; commits are in order of position, so the log is settled up to it."""
    position: int | None = connection.execute("select max(position) from events").fetchone()[0]
    return position or 0


def read_stream(
    connection: sqlite3.Connection,
    stream: str,
    after: int,
    before: int | None,
    limit: int,
    backwards: bool,
    bytes_max: int,
) -> Page:
    """A page of a stream: what its policy lets be seen."""
    row = connection.execute(f"{statement('stream_columns')} where name = ?", (stream,)).fetchone()
    if row is None:
        return Page([], after, False)
    info = _info(connection, row)
    first = max(after + 1, info.first_version)
    order = "desc" if backwards else "asc"
    sql = (
        f"{statement('event_columns')} where stream_number = ? and version >= ? and version < ? "
        f"order by version {order} limit ?"
    )
    end = END if before is None else before
    events, more = _page(connection.execute(sql, (row[1], first, end, limit)), limit, bytes_max)
    if more:
        return Page(events, events[-1].version, True)
    return Page(events, first if backwards else max(after, info.version), False)


def read_log(
    connection: sqlite3.Connection,
    query: Query | None,
    after: int,
    before: int | None,
    limit: int,
    backwards: bool,
    bytes_max: int,
) -> Page:
    """A page of the log. The head is read first: up to it, the page shows everything that matches."""
    settled = head(connection)
    end = settled + 1 if before is None else min(before, settled + 1)
    leaves = leaves_of(connection, query or Query.all(), after, end)
    sql, parameters = page_sql(leaves, after, end, limit, "desc" if backwards else "asc")
    events, more = _page(connection.execute(sql, parameters), limit, bytes_max)
    if more:
        return Page(events, events[-1].position, True)
    return Page(events, after if backwards else max(after, end - 1), False)


def first_match(connection: sqlite3.Connection, query: Query, after: int) -> int | None:
    """The position of an event that matches, higher than ``after``; None if there is none."""
    for leaf in leaves_of(connection, query, after, END):
        sql, parameters = leaf.positions(1, "asc")
        row = connection.execute(sql, parameters).fetchone()
        if row:
            position: int = row[0]
            return position
    return None


def events_after(connection: sqlite3.Connection, position: int) -> list[Event]:
    """All events after a position."""
    return _events(
        connection.execute(f"{statement('event_columns')} where position > ? order by position", (position,))
    )


def event_by_id(connection: sqlite3.Connection, id: bytes) -> Event | None:
    """The event with this id."""
    events = _events(connection.execute(f"{statement('event_columns')} where id = ?", (id,)))
    return events[0] if events else None


def _page(cursor: sqlite3.Cursor, limit: int, bytes_max: int) -> tuple[list[Event], bool]:
    """The events of a page, which ends early where it has its size; and whether more may follow."""
    events: list[Event] = []
    size = 0
    while size < bytes_max and (rows := cursor.fetchmany(CHUNK)):
        chunk = _events(rows)
        events += chunk
        size += size_of(chunk)
    return events, bool(events) and (len(events) == limit or size >= bytes_max)


def _events(rows: Iterable[tuple[Any, ...]]) -> list[Event]:
    return [
        Event(p, s, v, i, t, d, m, tuple(g.split("\n")) if g else (), c or JSON, r, o)
        for p, s, v, i, t, d, m, g, c, r, o in rows
    ]


def stream_info(connection: sqlite3.Connection, name: str) -> StreamInfo | None:
    """What is known of a stream."""
    row = connection.execute(f"{statement('stream_columns')} where name = ?", (name,)).fetchone()
    return _info(connection, row) if row else None


def stream_infos(
    connection: sqlite3.Connection, category: str | None, prefix: str | None, after: str, limit: int
) -> list[StreamInfo]:
    """Streams by name. A category is a range of names (``loan`` and ``loan-`` to ``loan.``), so no index is needed."""
    terms: list[str] = ["name > ?"]
    parameters: list[Any] = [after]
    if category is not None:
        terms.append("(name = ? or (name >= ? and name < ?))")
        parameters.extend([category, f"{category}-", f"{category}."])
        if "-" in category:
            return []
    if prefix:
        terms.append("name >= ? and substr(name, 1, ?) = ?")
        parameters.extend([prefix, len(prefix), prefix])
    sql = f"{statement('stream_columns')} where {' and '.join(terms)} order by name limit ?"
    return [_info(connection, row) for row in connection.execute(sql, [*parameters, limit]).fetchall()]


def _info(connection: sqlite3.Connection, row: tuple[Any, ...]) -> StreamInfo:
    name, number, state, hidden_through, truncate_before, max_age_us, max_count, created_us, version, last_us = row
    version = version or 0
    first = max(hidden_through + 1, truncate_before, 1)
    if max_count is not None:
        first = max(first, version - max_count + 1)
    if max_age_us is not None:
        oldest_us = now_us() - max_age_us
        first = connection.execute(statement("first_recorded"), (number, first, oldest_us)).fetchone()[0] or version + 1
    return StreamInfo(
        name,
        category_of(name),
        version,
        min(first, version + 1),
        created_us,
        last_us or created_us,
        STATES[state],
        StreamPolicy(truncate_before, None if max_age_us is None else timedelta(microseconds=max_age_us), max_count),
    )


def categories(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    """Each category and its number of streams."""
    return connection.execute(statement("count_categories")).fetchall()
