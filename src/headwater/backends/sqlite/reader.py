"""Reading: pages of a stream, pages of the log, and the queries behind append conditions.

A query becomes a union of branches, each led by one key that an index delivers in order of position, so that a page
costs what it holds and not what it skips.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from headwater.backend import Page, StreamInfo, StreamPolicy
from headwater.backends.sqlite.schema import STATES, statement
from headwater.events import JSON, Event, category_of, now_us
from headwater.queries import Branch, Query

__all__ = ["categories", "event_by_id", "first_match", "head", "read_log", "read_stream", "stream_info", "stream_infos"]

END = 2**63 - 1
BRANCHES_MAX = 60
"""SQLite takes 500 terms in a union, but plans slowly long before; a query of more parts scans the log instead."""


def head(connection: sqlite3.Connection) -> int:
    """The last position; commits are in order of position, so the log is settled up to it."""
    position: int | None = connection.execute("select max(position) from events").fetchone()[0]
    return position or 0


def read_stream(
    connection: sqlite3.Connection, stream: str, after: int, before: int | None, limit: int, backwards: bool
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
    events = _events(connection.execute(sql, (row[1], first, end, limit)))
    if len(events) == limit and events:
        return Page(events, events[-1].version, True)
    return Page(events, first if backwards else max(after, info.version), False)


def read_log(
    connection: sqlite3.Connection, query: Query | None, after: int, before: int | None, limit: int, backwards: bool
) -> Page:
    """A page of the log. The head is read first: up to it, the page shows everything that matches."""
    settled = head(connection)
    end = settled + 1 if before is None else min(before, settled + 1)
    sql, parameters = _page_sql(query, after, end, limit, backwards)
    events = _events(connection.execute(sql, parameters))
    if len(events) == limit and events:
        return Page(events, events[-1].position, True)
    return Page(events, after if backwards else max(after, end - 1), False)


def first_match(connection: sqlite3.Connection, query: Query, after: int) -> int | None:
    """The position of an event that matches, higher than ``after``; None if there is none."""
    for branch in query.branches():
        sql, parameters = _positions_sql(branch, after, END, 1, "asc")
        row = connection.execute(sql, parameters).fetchone()
        if row:
            position: int = row[0]
            return position
    return None


def event_by_id(connection: sqlite3.Connection, id: bytes) -> Event | None:
    """The event with this id."""
    events = _events(connection.execute(f"{statement('event_columns')} where id = ?", (id,)))
    return events[0] if events else None


def _page_sql(query: Query | None, after: int, end: int, limit: int, backwards: bool) -> tuple[str, list[Any]]:
    order = "desc" if backwards else "asc"
    columns = statement("event_columns")
    branches = (query or Query.all()).branches()
    if len(branches) == 1 and branches[0].tag is None:
        where, parameters = _where(branches[0], after, end)
        return f"{columns} where {where} order by {_order_key(branches[0])} {order} limit ?", [*parameters, limit]
    if len(branches) > BRANCHES_MAX:
        where, parameters = _any_of(branches)
        return (
            f"{columns} where position > ? and position < ? and ({where}) order by position {order} limit ?",
            [after, end, *parameters, limit],
        )
    parts = [_positions_sql(branch, after, end, limit, order) for branch in branches]
    union = " union ".join(f"select position from ({sql})" for sql, _ in parts)
    values = [value for _, parameters in parts for value in parameters]
    return f"{columns} where position in ({union}) order by position {order} limit ?", [*values, limit]


def _positions_sql(branch: Branch, after: int, end: int, limit: int, order: str) -> tuple[str, list[Any]]:
    """The positions of a branch's events, from an index, in order."""
    where, parameters = _where(branch, after, end)
    table = "event_tags as tagged" if branch.tag is not None else "events"
    sql = f"select position from {table} where {where} order by {_order_key(branch)} {order} limit ?"
    return sql, [*parameters, limit]


def _order_key(branch: Branch) -> str:
    """Inside a stream, versions rise with positions, and that is the order its index has."""
    return "version" if branch.stream is not None else "position"


def _where(branch: Branch, after: int, end: int) -> tuple[str, list[Any]]:
    if branch.tag is not None:
        return _where_tagged(branch, after, end)
    terms = ["position > ?", "position < ?"]
    parameters: list[Any] = [after, end]
    if branch.stream is not None:
        terms.append("stream_number = (select number from streams where name = ?)")
        parameters.append(branch.stream)
    if branch.type is not None:
        terms.append("type = ?")
        parameters.append(branch.type)
    if branch.category is not None:
        terms.append("category = ? and stream is not null")  # as the partial index asks
        parameters.append(branch.category)
    _restrict(terms, parameters, "type", branch.with_types)
    _restrict(terms, parameters, "category", branch.with_categories)
    return " and ".join(terms), parameters


def _where_tagged(branch: Branch, after: int, end: int) -> tuple[str, list[Any]]:
    terms = ["tag = ?", "position > ?", "position < ?"]
    parameters: list[Any] = [branch.tag, after, end]
    _restrict(terms, parameters, "type", branch.with_types)
    for tag in branch.with_tags:
        terms.append("exists (select 1 from event_tags t where t.tag = ? and t.position = tagged.position)")
        parameters.append(tag)
    for column, values in (("stream", branch.with_streams), ("category", branch.with_categories)):
        if values:
            marks = ", ".join("?" * len(values))
            terms.append(
                f"exists (select 1 from events e where e.position = tagged.position and e.{column} in ({marks}))"
            )
            parameters.extend(values)
    return " and ".join(terms), parameters


def _any_of(branches: Iterable[Branch]) -> tuple[str, list[Any]]:
    """A predicate on ``events`` for a query of very many parts."""
    alternatives: list[str] = []
    parameters: list[Any] = []
    for branch in branches:
        if branch.tag is not None:
            where, values = _where_tagged(branch, 0, END)
            where = f"position in (select position from event_tags as tagged where {where})"
        else:
            where, values = _where(branch, 0, END)
        alternatives.append(f"({where})")
        parameters.extend(values)
    return " or ".join(alternatives), parameters


def _restrict(terms: list[str], parameters: list[Any], column: str, values: tuple[str, ...]) -> None:
    if values:
        terms.append(f"{column} in ({', '.join('?' * len(values))})")
        parameters.extend(values)


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
