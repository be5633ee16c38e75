"""PostgreSQL 14 and later. One round trip per append or group of appends; readers behind the ordering gate.

``postgresql://user@host/database?schema=name``; see ``url`` for what else the URL may say.
"""

from __future__ import annotations

from headwater.backends.postgres.backend import PostgresBackend, postgres_backend
from headwater.backends.postgres.schema import prepare, schema_sql
from headwater.backends.postgres.url import parse
from headwater.limits import Limits

__all__ = ["PostgresBackend", "open", "schema_sql"]


async def open(url: str, limits: Limits) -> PostgresBackend:
    """The store at the URL; its schema is made where it is missing, and brought up to date where it is older.

    Raises ``BadUrl``; ``StoreUnavailable`` where the server can't be reached or used, or its schema was made by a
    newer Headwater; ``CorruptStore`` where the schema holds something else.
    """
    target = parse(url)
    backend = postgres_backend(target, await prepare(target), limits)
    await backend.start()
    return backend
