"""Connections beside the store's own, and a wire to the server that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

Connection = psycopg.AsyncConnection[Any]


@pytest.fixture
def schema(postgres_schema_url: str) -> str:
    """The name of the schema of ``postgres_schema_url``."""
    return postgres_schema_url.rpartition("schema=")[2]


@pytest.fixture
async def admin(postgres_url: str) -> AsyncIterator[Connection]:
    """A connection of somebody else, in autocommit."""
    connection = await psycopg.AsyncConnection.connect(postgres_url, autocommit=True)
    yield connection
    await connection.close()


class Wire:
    """Passes bytes between clients and the server. ``deaf`` drops the server's answers; ``cut`` breaks everything."""

    def __init__(self, server: dict[str, Any]) -> None:
        self._server = server
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Server | None = None
        self.deaf = False
        self.down = False
        self.port = 0

    async def listen(self) -> None:
        self._listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listening.sockets[0].getsockname()[1]

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        self.deaf = False

    async def close(self) -> None:
        self.cut()
        assert self._listening is not None
        self._listening.close()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.down:
            writer.transport.abort()
            return
        host, port = self._server.get("host") or "localhost", int(self._server.get("port") or 5432)
        if host.startswith("/"):
            from_server, to_server = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            from_server, to_server = await asyncio.open_connection(host, port)
        self._writers |= {writer, to_server}
        for source, sink, answers in ((reader, to_server, False), (from_server, writer, True)):
            pump = asyncio.create_task(self._pump(source, sink, answers))
            self._pumps.add(pump)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                if not (answers and self.deaf):
                    sink.write(data)
                    await sink.drain()
        sink.close()


@pytest.fixture
async def wire(postgres_url: str) -> AsyncIterator[Wire]:
    """A wire to the server, listening on a port of its own."""
    wire = Wire(conninfo_to_dict(postgres_url))
    await wire.listen()
    yield wire
    await wire.close()


@pytest.fixture
def wired_url(wire: Wire, postgres_url: str, schema: str) -> str:
    """The store's URL through the wire."""
    facts = conninfo_to_dict(postgres_url)
    user, database = facts.get("user", "postgres"), facts.get("dbname", "postgres")
    return f"postgresql://{user}:s3cret@127.0.0.1:{wire.port}/{database}?sslmode=disable&schema={schema}"


@pytest.fixture
def until() -> Callable[..., Any]:
    """Waits until something outside of our hands has come true."""

    async def until(condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(20):
            while not await condition():
                await asyncio.sleep(0.002)

    return until
