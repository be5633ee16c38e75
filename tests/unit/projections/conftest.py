"""A projection of loan applications, and databases to put it into."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import headwater as hw


class Effects(hw.Projection):
    """Counts how often each event had its effect, and the steps of each application."""

    name = "effects"
    tables = """
        create table {effects} (event text primary key, position bigint not null, times bigint not null);
        create table {steps} (loan text primary key, steps bigint not null, last_type text not null);
        create index {steps}_last on {steps} (last_type);
    """

    @hw.handles()
    def happened(self, event: hw.Event, view: hw.View) -> None:
        view.execute(
            "insert into {effects} values (:event, :position, 1) "
            "on conflict (event) do update set times = {effects}.times + 1",
            {"event": str(event.id), "position": event.position},
        )
        view.execute(
            "insert into {steps} values (:loan, 1, :type) "
            "on conflict (loan) do update set steps = {steps}.steps + 1, last_type = excluded.last_type",
            {"loan": event.stream, "type": event.type},
        )


class Submitted(hw.Projection):
    """Only applications that were submitted; other events do not concern it."""

    name = "submitted"
    tables = "create table {submitted} (loan text primary key, amount bigint)"

    @hw.handles("A_SUBMITTED")
    def submitted(self, event: hw.Event, view: hw.View) -> None:
        view.execute(
            "insert into {submitted} values (:loan, :amount)",
            {"loan": event.stream, "amount": event.data["amount"]},
        )


@pytest.fixture(params=["sqlite", "postgresql"])
def into(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without projections."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/read.db"
    url: str = request.getfixturevalue("postgres_schema_url")
    return url


@pytest.fixture
async def store() -> AsyncIterator[hw.EventStore]:
    async with hw.connect("memory:") as store:
        yield store


def rows(into: str, sql: str) -> list[tuple[object, ...]]:
    """What a reader sees who has nothing to do with Headwater."""
    if into.startswith("sqlite:///"):
        import sqlite3
        from contextlib import closing

        with closing(sqlite3.connect(into.removeprefix("sqlite:///"))) as connection:
            return connection.execute(sql).fetchall()
    import psycopg

    base, _, schema = into.rpartition("schema=")
    with psycopg.connect(base.rstrip("&?")) as connection:
        connection.execute(f'set search_path to "{schema}"')
        return connection.execute(sql.encode()).fetchall()
