"""The backend itself: SQLite's, over the index, with a writer that commits to KurrentDB and threads that follow it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, TypeVar

import msgspec

from headwater.backend import Appended, Examined, Write
from headwater.backends.kurrentdb.examining import examine
from headwater.backends.kurrentdb.home import Home, home_of
from headwater.backends.kurrentdb.records import refuse_reserved
from headwater.backends.kurrentdb.url import Place, parse
from headwater.backends.sqlite import CAPABILITIES, SQLiteBackend
from headwater.errors import NotSupported
from headwater.limits import Limits
from headwater.waiting import call

__all__ = ["KurrentDBBackend", "open"]

T = TypeVar("T")

READERS_MAX = 4


async def open(url: str, limits: Limits) -> KurrentDBBackend:
    """The store at the URL, with all that is recorded in its index; both are made where they are missing.

    Raises ``BadUrl``; ``StoreUnavailable`` where the server can't be reached or used, or the index is in use;
    ``CorruptStore`` where index and server do not fit.
    """
    place = parse(url)
    home = home_of(url)
    readers = ThreadPoolExecutor(READERS_MAX, thread_name_prefix="headwater-kurrentdb-reader")
    try:
        await call(readers, home.join, place)
    except BaseException:
        readers.shutdown()
        raise
    return KurrentDBBackend(place, home, readers, limits.page_bytes_max)


class KurrentDBBackend(SQLiteBackend):
    """See ``headwater.backend.Backend``. Reads come from the index; what is written goes to KurrentDB first."""

    capabilities = msgspec.structs.replace(CAPABILITIES, backend="kurrentdb", gapless_positions=False)

    def __init__(self, place: Place, home: Home, readers: ThreadPoolExecutor, page_bytes_max: int) -> None:
        super().__init__(home.file, home.connection, home.identity, readers, page_bytes_max, home.writer)
        self._place = place
        self._home = home
        self._signal = home.signal

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        for write in writes:
            refuse_reserved(write.stream)
        return await super().append(writes)

    async def head(self) -> int:
        """What another process has seen by now, this one has too when it asks: a checkpoint is never ahead of it."""
        self._check_usable()
        await call(self._readers, self._home.follower.to_end)
        return await self._last()

    async def _read(self, function: Callable[..., T], *arguments: Any) -> T:
        self._home.follower.check()
        return await super()._read(function, *arguments)

    def bind(self, connection: Any) -> NoReturn:
        raise NotSupported("the KurrentDB backend", "appends in a caller's transaction", "Use append or append_all.")

    async def examine(self) -> list[Examined]:
        found = await call(self._readers, examine, self._place, self._home.client, self._home.follower)
        return [*found, *await super().examine()]

    async def scrub(self) -> str:
        index = await super().scrub()
        streams = "what was replaced or removed beside the log stays in its stream until KurrentDB scavenges it"
        return f"{streams}; {index}" if index else streams

    def _close(self) -> None:
        self._close_readers()
        self._home.leave()
