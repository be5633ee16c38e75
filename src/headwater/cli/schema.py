"""``headwater schema``: the tables of a backend, and why they are so."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

__all__ = ["schema"]


class Database(enum.StrEnum):
    """Backends that have a schema."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"
    DYNAMODB = "dynamodb"


class Tool(enum.StrEnum):
    """What makes a table of DynamoDB."""

    CLOUDFORMATION = "cloudformation"
    TERRAFORM = "terraform"


async def schema(
    database: Annotated[Database, typer.Argument(help="Of which backend.")] = Database.SQLITE,
    print_it: Annotated[bool, typer.Option("--print", help="Print it (which is what happens anyway).")] = True,
    name: Annotated[str | None, typer.Option("--schema", help="PostgreSQL: name of the schema.")] = None,
    partition: Annotated[
        int | None, typer.Option(min=1, help="PostgreSQL: partition the events by so many positions.")
    ] = None,
    table: Annotated[str | None, typer.Option(help="DynamoDB: name of the table.")] = None,
    tool: Annotated[Tool | None, typer.Option("--for", help="DynamoDB: what will make the table.")] = None,
) -> None:
    """Print what makes a store, with the reason for each table and index: SQL, or a template for DynamoDB's table.

    A store makes its own schema when it is first opened; this is for reading, and for databases where somebody else
    must make it.

    Examples:

    * `headwater schema sqlite`
    * `headwater schema postgresql --schema loans --partition 10000000 > loans.sql`
    * `headwater schema dynamodb --table loans --for terraform > loans.tf`
    """
    if database is not Database.POSTGRESQL and (name is not None or partition is not None):
        raise typer.BadParameter("--schema and --partition are PostgreSQL's.")
    if database is not Database.DYNAMODB and (table is not None or tool is not None):
        raise typer.BadParameter("--table and --for are DynamoDB's.")
    from headwater.connect import loaded

    match database:
        case Database.SQLITE:
            print(loaded("headwater.backends.sqlite:schema_sql")())
        case Database.POSTGRESQL:
            print(loaded("headwater.backends.postgres:schema_sql")(name or "headwater", partition))
        case Database.DYNAMODB:
            make = loaded("headwater.backends.dynamodb:template")
            print(make((tool or Tool.CLOUDFORMATION).value, table or "headwater"))
