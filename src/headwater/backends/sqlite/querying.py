"""Queries as SQL: a union of leaves, each led by one key that an index delivers in order of position.

So a page costs what it holds and not what it skips, and an append condition costs one seek a leaf.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from headwater.backends.sqlite.schema import statement
from headwater.queries import Branch, Query

__all__ = ["END", "leaves_of", "page_sql"]

END = 2**63 - 1
"""Above every position and version."""

LEAVES_MAX = 60
"""SQLite takes 500 terms in a union, but plans slowly long before; a query of more leaves scans the log instead."""

_Values = list[Any]


class Leaf(NamedTuple):
    """One part of a query: a table, the condition on it, and the column that its index orders by."""

    table: str
    where: str
    values: _Values
    order_key: str = "position"

    def positions(self, limit: int, order: str) -> tuple[str, _Values]:
        """The positions of its events, from an index, in order."""
        sql = f"select position from {self.table} where {self.where} order by {self.order_key} {order} limit ?"
        return sql, [*self.values, limit]


def leaves_of(connection: sqlite3.Connection, query: Query, after: int, end: int) -> list[Leaf]:
    """The leaves of a query, between two positions; none where it names only kinds of events that never occurred."""
    return [leaf for branch in query.branches() for leaf in _leaves(connection, branch, [after, end])]


def _leaves(connection: sqlite3.Connection, branch: Branch, between: _Values) -> Iterator[Leaf]:
    if branch.tag is not None:
        yield _tagged(branch, between)
    elif branch.stream is not None:
        yield _in_stream(branch, between)
    elif branch.type is not None or branch.category is not None:
        types = () if branch.type is None else (branch.type,)
        categories = branch.with_categories if branch.category is None else (branch.category,)
        where, values = _kinds(types, categories)
        for (number,) in connection.execute(f"select number from kinds where {where}", values).fetchall():
            yield Leaf("events", "kind = ? and position > ? and position < ?", [number, *between])
    else:
        yield Leaf("events", "position > ? and position < ?", between)


def _tagged(branch: Branch, between: _Values) -> Leaf:
    terms = ["tag = ?", "position > ?", "position < ?"]
    values: _Values = [branch.tag, *between]
    if branch.with_types or branch.with_categories:
        where, more = _kinds(branch.with_types, branch.with_categories)
        terms.append(f"kind in (select number from kinds where {where})")
        values.extend(more)
    for tag in branch.with_tags:
        terms.append("exists (select 1 from event_tags t where t.tag = ? and t.position = tagged.position)")
        values.append(tag)
    if branch.with_streams:
        inside = f"e.stream in ({_marks(branch.with_streams)})"
        terms.append(f"exists (select 1 from events e where e.position = tagged.position and {inside})")
        values.extend(branch.with_streams)
    return Leaf("event_tags as tagged", " and ".join(terms), values)


def _in_stream(branch: Branch, between: _Values) -> Leaf:
    """Inside a stream, versions rise with positions, and versions are the order that its index has."""
    where = "stream_number = (select number from streams where name = ?) and position > ? and position < ?"
    if branch.with_types:
        where += f" and type in ({_marks(branch.with_types)})"
    return Leaf("events", where, [branch.stream, *between, *branch.with_types], "version")


def _kinds(types: Sequence[str], categories: Sequence[str]) -> tuple[str, _Values]:
    given = [("type", types), ("category", categories)]
    terms = [f"{column} in ({_marks(values)})" for column, values in given if values]
    return " and ".join(terms), [*types, *categories]


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def page_sql(leaves: Sequence[Leaf], after: int, end: int, limit: int, order: str) -> tuple[str, _Values]:
    """The statement for a page of the events of all leaves, in order of position, each event once."""
    columns = statement("event_columns")
    if len(leaves) == 1 and leaves[0].table == "events":
        (leaf,) = leaves
        return f"{columns} where {leaf.where} order by {leaf.order_key} {order} limit ?", [*leaf.values, limit]
    if len(leaves) > LEAVES_MAX:
        where, values = _any_of(leaves)
        where = f"position > ? and position < ? and {where}"
        return f"{columns} where {where} order by position {order} limit ?", [after, end, *values, limit]
    parts = [leaf.positions(limit, order) for leaf in leaves]
    union = " union ".join(f"select position from ({sql})" for sql, _ in parts) or "select null"
    values = [value for _, more in parts for value in more]
    return f"{columns} where position in ({union}) order by position {order} limit ?", [*values, limit]


def _any_of(leaves: Sequence[Leaf]) -> tuple[str, _Values]:
    """A predicate on ``events`` for very many leaves, in groups: SQLite bounds how deep an expression may nest."""
    terms = [f"position in (select position from {leaf.table} where {leaf.where})" for leaf in leaves]
    groups = [" or ".join(terms[start : start + 50]) for start in range(0, len(terms), 50)]
    return "(" + " or ".join(f"({group})" for group in groups) + ")", [v for leaf in leaves for v in leaf.values]
