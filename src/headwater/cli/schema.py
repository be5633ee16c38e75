"""``headwater schema``: the tables of a backend, and why they are so."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

__all__ = ["schema"]


class Database(enum.StrEnum):
    """Backends whose schema is SQL."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


async def schema(
    database: Annotated[Database, typer.Argument(help="Of which backend.")] = Database.SQLITE,
    print_it: Annotated[bool, typer.Option("--print", help="Print it (which is what happens anyway).")] = True,
    name: Annotated[str, typer.Option("--schema", help="PostgreSQL: name of the schema.")] = "headwater",
    partition: Annotated[
        int | None, typer.Option(min=1, help="PostgreSQL: partition the events by so many positions.")
    ] = None,
) -> None:
    """Print the SQL that makes a store, with the reason for each table and index.

    A store makes its own schema when it is first opened; this is for reading, and for databases where somebody else
    must make it.

    Examples:

    * `headwater schema sqlite`
    * `headwater schema postgresql --schema loans --partition 10000000 > loans.sql`
    """
    if database is Database.SQLITE:
        from headwater.backends import sqlite

        if name != "headwater" or partition is not None:
            raise typer.BadParameter("--schema and --partition are PostgreSQL's.")
        print(sqlite.schema_sql())
    else:
        from headwater.backends import postgres

        print(postgres.schema_sql(name, partition))
