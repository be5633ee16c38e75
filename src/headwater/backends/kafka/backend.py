"""The backend itself: SQLite's, over the index, with a writer that commits to Kafka and a thread that follows it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, TypeVar

import msgspec

from headwater.backend import Examined
from headwater.backends.kafka.examining import examine
from headwater.backends.kafka.home import Home, home_of
from headwater.backends.kafka.url import Place, parse
from headwater.backends.sqlite import CAPABILITIES, SQLiteBackend
from headwater.errors import NotSupported
from headwater.limits import Limits
from headwater.waiting import call

__all__ = ["KafkaBackend", "open"]

T = TypeVar("T")

READERS_MAX = 4


async def open(url: str, limits: Limits) -> KafkaBackend:
    """The store at the URL, with all that is committed in its index; both are made where they are missing.

    Raises ``BadUrl``; ``StoreUnavailable`` where the brokers can't be reached or used, or the index is in use;
    ``CorruptStore`` where index and topics do not fit.
    """
    place = parse(url)
    home = home_of(url)
    readers = ThreadPoolExecutor(READERS_MAX, thread_name_prefix="headwater-kafka-reader")
    try:
        await call(readers, home.join, place)
    except BaseException:
        readers.shutdown()
        raise
    return KafkaBackend(place, home, readers, limits.page_bytes_max)


class KafkaBackend(SQLiteBackend):
    """See ``headwater.backend.Backend``. Reads come from the index; what is written goes to Kafka first."""

    capabilities = msgspec.structs.replace(CAPABILITIES, backend="kafka", shared=False)

    def __init__(self, place: Place, home: Home, readers: ThreadPoolExecutor, page_bytes_max: int) -> None:
        super().__init__(home.file, home.connection, home.identity, readers, page_bytes_max, home.writer)
        self._place = place
        self._home = home
        self._signal = home.signal

    async def _read(self, function: Callable[..., T], *arguments: Any) -> T:
        self._home.follower.check()
        return await super()._read(function, *arguments)

    def bind(self, connection: Any) -> NoReturn:
        raise NotSupported("the Kafka backend", "appends in a caller's transaction", "Use append or append_all.")

    async def examine(self) -> list[Examined]:
        owner, silent = self._home.follower.owner()
        found = await call(self._readers, examine, self._place, owner, silent, self._home.ownership.held)
        return [*found, *await super().examine()]

    async def scrub(self) -> str:
        index = await super().scrub()
        topics = "what was replaced or removed beside the log stays in its topic until the brokers compact it"
        return f"{topics}; {index}" if index else topics

    def _close(self) -> None:
        self._close_readers()
        self._home.leave()
