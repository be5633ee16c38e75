"""A .NET Marten application's own tables (Marten 8 and 9, PostgreSQL 14 and later), joined from Python.

``marten+postgresql://user@host/database?schema=name``; see ``url`` for what else the URL may say.
"""

from __future__ import annotations

from headwater.backends.marten.backend import MartenBackend
from headwater.backends.marten.compatible import Options, compatible_sql
from headwater.backends.marten.schema import prepare
from headwater.backends.marten.url import parse
from headwater.limits import Limits

__all__ = ["MartenBackend", "Options", "compatible_sql", "open"]


async def open(url: str, limits: Limits) -> MartenBackend:
    """The event store of the Marten application at the URL. What Headwater keeps beside it is made where it is missing.

    Raises ``BadUrl``; ``StoreUnavailable`` where the server can't be reached or used, there is no event store of
    Marten's, or it has something that is not understood; ``CorruptStore`` where our schema holds something else.
    """
    target = parse(url)
    backend = MartenBackend(target, await prepare(target), limits)
    await backend.start()
    return backend
