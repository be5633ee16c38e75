"""What a handler writes by: the tables of its projection, inside the transaction that moves the position."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from headwater.projections.handling import InvalidProjection
from headwater.projections.statements import filled
from headwater.projections.targets import Connection

__all__ = ["Tables", "View"]

_NOTHING: Mapping[str, Any] = {}


class Tables:
    """The names of a projection's tables in one version."""

    def __init__(self, projection: str, version: int, declared: tuple[str, ...]) -> None:
        self.projection = projection
        self.real = {name: f"{name}_v{version}" for name in declared}
        self.sql = cache(self._sql)

    def _sql(self, sql: str) -> str:
        """The SQL with this version's tables. ``InvalidProjection`` where it names another one."""
        try:
            return filled(sql, self.real)
        except KeyError as missing:
            raise InvalidProjection(
                self.projection,
                f"a statement names the table {{{missing.args[0]}}}",
                f"It declares {', '.join(f'{{{name}}}' for name in self.real)}.",
            ) from None


class View:
    """The rows of a projection, for its handlers.

    SQL is the target's own, with ``{table}`` for the projection's tables and ``:name`` for values:
    ``view.execute("delete from {cases} where loan = :loan", {"loan": event.stream})``.
    """

    __slots__ = ("_connection", "_sql")

    def __init__(self, connection: Connection, tables: Tables) -> None:
        self._connection = connection
        self._sql = tables.sql

    def execute(self, sql: str, values: Mapping[str, Any] = _NOTHING) -> None:
        """Run a statement that gives no rows. On PostgreSQL it is sent without waiting for its outcome, so an error
        may be raised by a later call."""
        self._connection.execute(self._sql(sql), values)

    def all(self, sql: str, values: Mapping[str, Any] = _NOTHING) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self._connection.rows(self._sql(sql), values)

    def one(self, sql: str, values: Mapping[str, Any] = _NOTHING) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""
        rows = self._connection.rows(self._sql(sql), values)
        return rows[0] if rows else None
