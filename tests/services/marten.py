"""A Marten application on the PostgreSQL of the tests. No .NET is needed.

The schema is ``compatible_sql``'s; ``DotNet`` (``marten_dotnet``) does what Marten does, statement by statement, and
``traffic`` (``marten_traffic``) is a busy day of it.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:  # the rest of the tests runs without psycopg
    from headwater.backends.marten.compatible import Options
    from tests.services.marten_dotnet import DotNet

__all__ = ["MakeSchema", "MartenSchema", "marten_schema"]


class MartenSchema(NamedTuple):
    """The event schema of an application."""

    schema: str
    conninfo: str
    options: Options

    def url(self, **more: str) -> str:
        """Of the store, with appends of everything. Nobody draws numbers outside of a transaction: gap=0."""
        said = {"schema": self.schema, "append": "yes", "gap": "0", **more}
        joint = "&" if "?" in self.conninfo else "?"
        return f"marten+{self.conninfo}{joint}" + "&".join(f"{name}={value}" for name, value in said.items())

    def dotnet(self, tenant: str = "*DEFAULT*") -> DotNet:
        """The application. Open it with ``async with``."""
        from tests.services.marten_dotnet import DotNet

        return DotNet(self.conninfo, self.options, tenant)


class MakeSchema(Protocol):
    """Takes the fields of ``Options`` but ``schema``."""

    def __call__(self, **fields: Any) -> MartenSchema: ...


def _applications_own(schema: str) -> str | None:
    """What a real application has written of its schema (``db-dump``): ``HEADWATER_MARTEN_SQL`` names the file, and
    ``HEADWATER_MARTEN_SCHEMA`` the schema in it. The options that a test asks for are then the application's."""
    file = os.environ.get("HEADWATER_MARTEN_SQL")
    if not file:
        return None
    name = re.escape(os.environ.get("HEADWATER_MARTEN_SCHEMA", "public"))
    return f"CREATE SCHEMA IF NOT EXISTS {schema};\n" + re.sub(rf"\b{name}\b", schema, Path(file).read_text())


@pytest.fixture(scope="session")
def marten_database(postgres_url: str) -> Iterator[str]:
    """The URL of a database of one's own: there, whoever writes holds up readers who have found a number missing."""
    import psycopg

    name = f"marten_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'".encode())
        yield urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def marten_schema(marten_database: str) -> Iterator[MakeSchema]:
    """Makes schemas. After the test they are dropped, and those that Headwater keeps beside them."""
    import psycopg

    from headwater.backends.marten.compatible import Options, compatible_sql

    made: list[str] = []

    def make(**fields: Any) -> MartenSchema:
        options = Options(schema=f"mt_{uuid.uuid4().hex[:16]}", **fields)
        made.append(options.schema)
        sql = _applications_own(options.schema) or compatible_sql(options)
        with psycopg.connect(marten_database, autocommit=True) as connection:
            connection.execute(sql.encode())
        return MartenSchema(options.schema, marten_database, options)

    yield make
    with psycopg.connect(marten_database, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning; SET lock_timeout = '20s'")
        for name in made:
            found = connection.execute(
                """SELECT nspname FROM pg_namespace
                   WHERE nspname = %(name)s OR starts_with(nspname::text, 'headwater_' || %(name)s)
                       OR starts_with(nspname::text, %(name)s || '_headwater')""",
                {"name": name},
            )
            for (schema,) in found.fetchall():
                connection.execute(f'DROP SCHEMA "{schema}" CASCADE')
