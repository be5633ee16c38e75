"""The backend itself: its parts put together behind the contract."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NoReturn

from headwater.backend import (
    Appended,
    Capabilities,
    Examined,
    Page,
    Record,
    RecordChange,
    Snapshot,
    StreamInfo,
    StreamPolicy,
    Write,
)
from headwater.backends.dynamodb.appender import Appender
from headwater.backends.dynamodb.blobs import Blobs
from headwater.backends.dynamodb.examining import examine
from headwater.backends.dynamodb.heads import Heads
from headwater.backends.dynamodb.ids import Ids
from headwater.backends.dynamodb.index import Index
from headwater.backends.dynamodb.keeping import Keeping
from headwater.backends.dynamodb.log import Log
from headwater.backends.dynamodb.reader import Reader
from headwater.backends.dynamodb.records import Records
from headwater.backends.dynamodb.sequencer import Sequencer
from headwater.backends.dynamodb.service import Service
from headwater.backends.dynamodb.settling import Settling
from headwater.backends.dynamodb.streams import Streams
from headwater.backends.dynamodb.table import Facts
from headwater.errors import NotSupported
from headwater.events import Event
from headwater.limits import Limits
from headwater.queries import ExpectedVersion, Query
from headwater.waiting import Signal

__all__ = ["DynamoDBBackend"]

LOOK_FIRST, LOOK_MOST = 0.05, 0.25
"""Pauses in seconds between a waiting reader's looks at the last position."""


class DynamoDBBackend:
    """See ``headwater.backend.Backend``. Bound to the event loop that it was opened in."""

    stepped = False

    def __init__(self, service: Service, facts: Facts, limits: Limits) -> None:
        self.service = service
        self.identity = facts.identity
        waits = service.target.ordering == "sync"
        self.capabilities = _capabilities(position_on_append=waits)
        self._signal = Signal()
        self._heads = Heads(service)
        self._log = Log(service)
        self._index = Index(service, self._log)
        self._sequencer = Sequencer(service, self._heads, facts.shards, self._moved)
        ids = Ids(service, self._sequencer)
        self._reader = Reader(service, self._heads, self._sequencer, self._log, self._index, ids, limits.page_bytes_max)
        self._appender = Appender(
            service, self._heads, self._sequencer, ids, self._reader.check, facts.shards, wait=waits
        )
        self._streams = Streams(service, self._heads, self._reader.first_version, facts.shards)
        blobs = Blobs(service)
        self._keeping = Keeping(service, blobs)
        self._records = Records(service, blobs)
        self._settling = None if waits else Settling(self._sequencer)
        self._shards = facts.shards
        self._closed = False
        self._sequencer.note(facts.position)

    def _moved(self) -> None:
        self._index.moved(self._sequencer.position)
        self._signal.notify()

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        results = await self._appender.append(writes)
        if self._settling is not None:
            self._settling.begin()
        return results

    def bind(self, connection: Any) -> NoReturn:
        raise NotSupported("the DynamoDB backend", "appends in a caller's transaction", "Use append or append_all.")

    async def read_stream(self, stream: str, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        return await self._reader.read_stream(stream, after, before, limit, backwards)

    async def read_all(self, query: Query | None, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        return await self._reader.read_all(query, after, before, limit, backwards)

    async def head(self) -> int:
        return await self._sequencer.head()

    async def wait(self, after: int, seconds: float) -> bool:
        """Woken by this process's own appends; looks for others' by itself, and helps what they left."""
        deadline = time.monotonic() + seconds
        look = LOOK_FIRST
        while not self._closed:
            news = self._signal.subscribe()
            try:
                if self._sequencer.position > after or await self._sequencer.head() > after:
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                woken = await self._signal.wait(news, min(look, left))
            finally:
                self._signal.cancel(news)
            look = LOOK_FIRST if woken else min(look * 1.5, LOOK_MOST)
        return False

    async def event(self, id: bytes) -> Event | None:
        return await self._reader.event(id)

    async def stream(self, name: str) -> StreamInfo | None:
        return await self._streams.stream(name)

    async def streams(self, category: str | None, prefix: str | None, after: str, limit: int) -> list[StreamInfo]:
        return await self._streams.streams(category, prefix, after, limit)

    async def categories(self) -> list[tuple[str, int]]:
        return await self._streams.categories()

    async def set_policy(self, stream: str, policy: StreamPolicy) -> None:
        await self._streams.set_policy(stream, policy)

    async def delete_stream(self, stream: str, expected: ExpectedVersion, tombstone: bool) -> None:
        await self._streams.delete_stream(stream, expected, tombstone)

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        await self._keeping.save_snapshot(snapshot)

    async def load_snapshot(self, name: str) -> Snapshot | None:
        return await self._keeping.load_snapshot(name)

    async def load_snapshots(self, after: str, limit: int) -> list[Snapshot]:
        return await self._keeping.load_snapshots(after, limit)

    async def delete_snapshot(self, name: str) -> None:
        await self._keeping.delete_snapshot(name)

    async def save_checkpoint(self, name: str, position: int) -> None:
        await self._keeping.save_checkpoint(name, position)

    async def load_checkpoint(self, name: str) -> int | None:
        return await self._keeping.load_checkpoint(name)

    async def load_records(self, prefix: str, after: str = "", limit: int = 10_000) -> list[Record]:
        return await self._records.load(prefix, after, limit)

    async def save_records(self, changes: Sequence[RecordChange]) -> list[int]:
        return await self._records.save(changes)

    async def scrub(self) -> str:
        """See ``Backend.scrub``. What was replaced is out of the table at once; what DynamoDB copied is not."""
        return "DynamoDB's point-in-time recovery (up to 35 days) and its backups hold the key until they end"

    async def examine(self) -> list[Examined]:
        return await examine(self.service, self._shards)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._signal.notify()
        if self._settling is not None:
            await self._settling.close()
        await self._index.close()
        await self.service.close()


def _capabilities(*, position_on_append: bool) -> Capabilities:
    return Capabilities(
        backend="dynamodb",
        durable=True,
        shared=True,
        order="total",
        gapless_positions=True,
        append_condition=True,
        atomic_streams=True,
        read_backwards=True,
        caller_transaction=False,
        stream_policies=True,
        snapshots=True,
        checkpoints=True,
        records=True,
        position_on_append=position_on_append,
    )
