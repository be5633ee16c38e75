"""A Marten application that lends money, and the store that joins it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest
from tests.services.marten import MakeSchema, MartenSchema
from tests.services.marten_dotnet import DotNet

import headwater as hw

Connecting = Callable[..., Any]
Rows = Callable[..., Any]


@pytest.fixture
def application(marten_schema: MakeSchema) -> MartenSchema:
    """With ids that are texts, and every column of metadata."""
    return marten_schema(identity="string", metadata=("causation", "correlation", "headers", "user_name"))


@pytest.fixture
async def dotnet(application: MartenSchema) -> AsyncIterator[DotNet]:
    async with application.dotnet() as dotnet:
        yield dotnet


@pytest.fixture
def connecting(application: MartenSchema) -> Connecting:
    """Opens the application's store, with what is said in the URL."""

    def connecting(**said: str) -> Any:
        return hw.connect(application.url(**said))

    return connecting


@pytest.fixture
async def store(connecting: Connecting) -> AsyncIterator[hw.EventStore]:
    """The application's store, which may append everything."""
    async with connecting() as store:
        yield store


@pytest.fixture
async def rows(application: MartenSchema) -> AsyncIterator[Rows]:
    """Asks the database itself; ``{}`` stands for the application's schema."""
    connection = await psycopg.AsyncConnection.connect(application.conninfo, autocommit=True)

    async def rows(statement: str, *values: Any) -> list[tuple[Any, ...]]:
        cursor = await connection.execute(statement.format(application.schema).encode(), values or None)
        return await cursor.fetchall() if cursor.description else []

    yield rows
    await connection.close()
