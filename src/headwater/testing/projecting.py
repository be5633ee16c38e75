"""Given these events, then these rows: tests of projections, by a real runner into a real file of SQLite's.

::

    async with given_projection(CaseTimes()) as given:
        await given.happened("loan-173688", NewEvent("A_SUBMITTED", {"amount": 20000}))
        await given.then("cases", {"loan": "loan-173688", "steps": 1})

Works with any test runner: an ``AssertionError`` tells what is wrong. Where there is no event loop, ``asyncio.run`` it.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from headwater.connect import open_store
from headwater.projections import Projection, Projector, Target
from headwater.projections.statements import declared_tables
from headwater.projections.targets import open_target
from headwater.store import EventStore
from headwater.testing.histories import History
from headwater.testing.telling import difference
from headwater.typed import Codec

__all__ = ["GivenProjection", "given_projection"]


class GivenProjection(History):
    """A projection, and what has happened in the store that it follows."""

    def __init__(self, store: EventStore, codec: Codec | None, projector: Projector, target: Target) -> None:
        super().__init__(store, codec)
        self.projector = projector
        self.target = target

    async def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table, once all that has happened is in it; in order of their columns. What a handler raises
        passes through."""
        await self.projector.catch_up()
        self._check_table(table)
        with self.target.snapshot() as connection:
            columns, _ = self.target.columns(connection, table)
            rows = connection.rows(f"select {', '.join(columns)} from {table} order by {', '.join(columns)}")
        return [dict(zip(columns, row, strict=True)) for row in rows]

    async def then(self, table: str, *expected: Mapping[str, Any]) -> None:
        """Exactly these rows are in the table, in any order. Only the columns that they name are compared."""
        rows = await self.rows(table)
        columns = list(dict.fromkeys(name for row in expected for name in row))
        if rows and (missing := [name for name in columns if name not in rows[0]]):
            raise AssertionError(f"{table} has no column {missing[0]!r}; it has {', '.join(rows[0])}")
        found = sorted(repr({name: row[name] for name in columns} if columns else row) for row in rows)
        wanted = sorted(repr({name: row.get(name) for name in columns}) for row in expected)
        if found != wanted:
            raise AssertionError(f"{self.told}\nthen the rows of {table}\n{difference(wanted, found)}")

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the projection's tables."""
        return declared_tables(self.projector.projection.tables)

    def _check_table(self, table: str) -> None:
        if table not in self.tables:
            raise AssertionError(f"the projection has no table {table!r}; it has {', '.join(self.tables)}")


@asynccontextmanager
async def given_projection(projection: Projection, *, codec: Codec | None = None) -> AsyncIterator[GivenProjection]:
    """A projection with a store in memory, and its tables in a file that is gone afterwards.

    Arguments:
        codec: to give events as objects of its classes.
    """
    with tempfile.TemporaryDirectory(prefix="headwater-") as folder:
        file = Path(folder) / "read.db"
        target = open_target(f"sqlite:///{file}")
        async with await open_store("memory:") as store, Projector(store, projection, into=target) as projector:
            yield GivenProjection(store, codec, projector, target)
