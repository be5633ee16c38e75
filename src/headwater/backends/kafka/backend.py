"""The backend itself: SQLite's, over the index, with a writer that commits to Kafka and a thread that follows it."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from headwater.backend import Examined
from headwater.backends.kafka.clients import ensure_topics
from headwater.backends.kafka.examining import examine
from headwater.backends.kafka.follower import Follower
from headwater.backends.kafka.index import fact, keep_new_name, opened, owned_file
from headwater.backends.kafka.owner import Ownership
from headwater.backends.kafka.url import Place, parse
from headwater.backends.kafka.writer import KafkaWriter
from headwater.backends.sqlite import CAPABILITIES, SQLiteBackend
from headwater.backends.sqlite.connections import StoreFile
from headwater.errors import NotSupported, StoreUnavailable
from headwater.limits import Limits
from headwater.waiting import call

__all__ = ["KafkaBackend", "open"]

READERS_MAX = 4


async def open(url: str, limits: Limits) -> KafkaBackend:
    """The store at the URL, with all that is committed in its index; both are made where they are missing.

    Raises ``BadUrl``; ``StoreUnavailable`` where the brokers can't be reached or used, or the index is in use;
    ``CorruptStore`` where index and topics do not fit.
    """
    place = parse(url)
    readers = ThreadPoolExecutor(READERS_MAX, thread_name_prefix="headwater-kafka-reader")
    try:
        return await call(readers, _opened, place, readers, limits)
    except BaseException:
        readers.shutdown()
        raise


def _opened(place: Place, readers: ThreadPoolExecutor, limits: Limits) -> KafkaBackend:
    with contextlib.ExitStack() as held:
        ensure_topics(place)
        file = StoreFile(place.index or Path(held.enter_context(_temporary())) / "index.db")
        held.enter_context(owned_file(file.path))
        connection = opened(file)
        held.callback(connection.close)
        return KafkaBackend(place, file, connection, readers, limits.page_bytes_max, held)


def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="headwater-kafka-", ignore_cleanup_errors=True)


class KafkaBackend(SQLiteBackend):
    """See ``headwater.backend.Backend``. Reads come from the index; what is written goes to Kafka first."""

    capabilities = msgspec.structs.replace(CAPABILITIES, backend="kafka", shared=False)

    def __init__(
        self,
        place: Place,
        file: StoreFile,
        connection: sqlite3.Connection,
        readers: ThreadPoolExecutor,
        page_bytes_max: int,
        held: contextlib.ExitStack,
    ) -> None:
        self._place = place
        self._follower = Follower(place, file, opened(file))
        held.callback(self._follower.close)
        ownership = Ownership(place, self._follower, keep_new_name(connection))
        self._ownership = ownership

        def writer(connection: sqlite3.Connection, file: StoreFile, committed: Callable[[], None]) -> KafkaWriter:
            return KafkaWriter(connection, file, committed, ownership, self.identity)

        self._follower.start()
        self._follower.to_end()
        if self._follower.store is None:
            if not place.create:
                raise StoreUnavailable(
                    f"{place.shown} holds no store", "Open it once without create=no.", transient=False
                )
            ownership.make_store()
        identity = fact(connection, "identity")
        super().__init__(file, connection, identity, readers, page_bytes_max, writer)
        self._follower.applied = self._signal.notify
        self._held = held.pop_all()

    def bind(self, connection: Any) -> NoReturn:
        raise NotSupported("the Kafka backend", "appends in a caller's transaction", "Use append or append_all.")

    async def examine(self) -> list[Examined]:
        owner, silent = self._follower.owner()
        found = await call(self._readers, examine, self._place, owner, silent, self._ownership.held)
        return [*found, *await super().examine()]

    async def scrub(self) -> str:
        index = await super().scrub()
        topics = "what was replaced or removed beside the log stays in its topic until the brokers compact it"
        return f"{topics}; {index}" if index else topics

    def _close(self) -> None:
        self._writer.close()
        super()._close()
        self._held.close()
