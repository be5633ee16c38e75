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
    MARTEN = "marten"
    DYNAMODB = "dynamodb"


class Identity(enum.StrEnum):
    """What names the streams of a Marten application."""

    STRING = "string"
    GUID = "guid"


class Column(enum.StrEnum):
    """What else its events may say."""

    CORRELATION = "correlation"
    CAUSATION = "causation"
    HEADERS = "headers"
    USER_NAME = "user_name"


class Tool(enum.StrEnum):
    """What makes a table of DynamoDB."""

    CLOUDFORMATION = "cloudformation"
    TERRAFORM = "terraform"


async def schema(
    database: Annotated[Database, typer.Argument(help="Of which backend.")] = Database.SQLITE,
    print_it: Annotated[bool, typer.Option("--print", help="Print it (which is what happens anyway).")] = True,
    name: Annotated[str | None, typer.Option("--schema", help="PostgreSQL, Marten: name of the schema.")] = None,
    partition: Annotated[
        int | None, typer.Option(min=1, help="PostgreSQL: partition the events by so many positions.")
    ] = None,
    table: Annotated[str | None, typer.Option(help="DynamoDB: name of the table.")] = None,
    tool: Annotated[Tool | None, typer.Option("--for", help="DynamoDB: what will make the table.")] = None,
    identity: Annotated[Identity | None, typer.Option(help="Marten: what names a stream.")] = None,
    conjoined: Annotated[bool, typer.Option("--conjoined", help="Marten: tenants share the tables.")] = False,
    columns: Annotated[list[Column] | None, typer.Option("--column", help="Marten: columns for metadata.")] = None,
) -> None:
    """Print what makes a store, with the reason for each table and index: SQL, or a template for DynamoDB's table.

    A store makes its own schema when it is first opened; this is for reading, and for databases where somebody else
    must make it. A Marten application's schema is made by .NET; this one is compatible.

    Examples:

    * `headwater schema sqlite`
    * `headwater schema postgresql --schema loans --partition 10000000 > loans.sql`
    * `headwater schema marten --schema loans --identity string --column headers > loans.sql`
    * `headwater schema dynamodb --table loans --for terraform > loans.tf`
    """
    if name is not None and database not in (Database.POSTGRESQL, Database.MARTEN):
        raise typer.BadParameter("--schema is PostgreSQL's and Marten's.")
    if partition is not None and database is not Database.POSTGRESQL:
        raise typer.BadParameter("--partition is PostgreSQL's.")
    if database is not Database.MARTEN and (identity is not None or conjoined or columns):
        raise typer.BadParameter("--identity, --conjoined and --column are Marten's.")
    if database is not Database.DYNAMODB and (table is not None or tool is not None):
        raise typer.BadParameter("--table and --for are DynamoDB's.")
    from headwater.connect import loaded

    match database:
        case Database.SQLITE:
            print(loaded("headwater.backends.sqlite:schema_sql")())
        case Database.POSTGRESQL:
            print(loaded("headwater.backends.postgres:schema_sql")(name or "headwater", partition))
        case Database.MARTEN:
            options = loaded("headwater.backends.marten:Options")(
                schema=name or "public",
                identity=(identity or Identity.GUID).value,
                conjoined=conjoined,
                metadata=tuple(column.value for column in columns or ()),
            )
            print(loaded("headwater.backends.marten:compatible_sql")(options))
        case Database.DYNAMODB:
            make = loaded("headwater.backends.dynamodb:template")
            print(make((tool or Tool.CLOUDFORMATION).value, table or "headwater"))
