"""The backend itself: its parts put together behind the contract."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from headwater.backend import (
    Appended,
    Appender,
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
from headwater.backends.postgres.appender import GroupingAppender
from headwater.backends.postgres.bound import BoundAppender
from headwater.backends.postgres.calls import Calls, PostgresCalls
from headwater.backends.postgres.connections import Connections
from headwater.backends.postgres.examining import Examination
from headwater.backends.postgres.gate import Gate, Horizon
from headwater.backends.postgres.keeping import Keeping
from headwater.backends.postgres.reader import Reader, Reading
from headwater.backends.postgres.records import Records
from headwater.backends.postgres.rooms import Rooms
from headwater.backends.postgres.rows import event_of
from headwater.backends.postgres.schema import Found
from headwater.backends.postgres.statements import Statements, statements_of
from headwater.backends.postgres.streams import Streams
from headwater.backends.postgres.url import Target
from headwater.backends.postgres.wakeup import LOOK_FIRST, Wakeup, channel_of
from headwater.events import Event
from headwater.limits import Limits
from headwater.queries import ExpectedVersion, Query

__all__ = ["PostgresBackend", "capabilities_of", "postgres_backend"]


class PostgresBackend:
    """See ``headwater.backend.Backend``. Bound to the event loop that it was opened in.

    It is put together from what differs between layouts of tables: who knows the ``gate``, how appends are sent
    (``calls``), how rows are read (``reading``), and the ``statements``.
    """

    stepped = False

    def __init__(
        self,
        target: Target,
        connections: Connections,
        identity: str,
        capabilities: Capabilities,
        statements: Statements,
        gate: Horizon,
        calls: Calls,
        reading: Reading,
        wakeup: Wakeup,
        limits: Limits,
        *,
        rooms: Rooms | None = None,
        records: bool = True,
    ) -> None:
        self.identity = identity
        self.capabilities = capabilities
        self._target = target
        self._connections = connections
        self._statements = statements
        self._gate = gate
        self._calls = calls
        self._event_of = reading.event_of
        self._wakeup = wakeup
        self._rooms = rooms
        self._appender = GroupingAppender(connections, calls, target, wakeup, rooms)
        self._reader = Reader(connections, gate, statements, reading, limits.page_bytes_max)
        self._streams = Streams(connections, statements, reading.key_of)
        self._keeping = Keeping(connections, statements)
        self._records = Records(connections, statements, target, exist=records)

    async def start(self) -> None:
        """Open the pool, and make room for the next events where the log is partitioned."""
        await self._connections.open()
        if self._rooms is not None:
            await self._rooms.make()

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        return await self._appender.append(writes)

    def bind(self, connection: Any) -> Appender:
        """Appends inside the open transaction of a psycopg connection (of either kind) to the store's database.

        See ``BoundAppender`` for what the open transaction holds back.
        """
        return BoundAppender(connection, self._calls, self._statements, self._event_of, self._target)

    async def read_stream(self, stream: str, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        return await self._reader.read_stream(stream, after, before, limit, backwards)

    async def read_all(self, query: Query | None, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        return await self._reader.read_all(query, after, before, limit, backwards)

    async def head(self) -> int:
        return await self._gate.horizon()

    async def wait(self, after: int, seconds: float) -> bool:
        """Woken by this process's own appends and by notifications of others'; looks by itself too, ever less often."""
        deadline = asyncio.get_running_loop().time() + seconds
        pause = LOOK_FIRST
        signal = self._wakeup.listen()
        while True:
            news = signal.subscribe()
            try:
                if await self._gate.horizon() > after:
                    return True
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    return False
                woken = await signal.wait(news, min(pause, left))
            finally:
                signal.cancel(news)
            # Woken, and nothing to be seen: an append under way may still lie below.
            pause = LOOK_FIRST if woken else min(pause * 1.5, self._wakeup.look_most)

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
        return await self._records.scrub()

    async def examine(self) -> list[Examined]:
        return await Examination(
            self._connections, self._statements, self._target, channel_of(self._target.schema)
        ).all()

    async def close(self) -> None:
        await self._appender.close()
        if self._rooms is not None:
            await self._rooms.close()
        await self._wakeup.close()
        await self._connections.close()


def postgres_backend(target: Target, found: Found, limits: Limits) -> PostgresBackend:
    """The backend over Headwater's own tables."""
    partitioned = found.partition_size is not None
    statements = statements_of(target.schema, partitioned)
    connections = Connections(target)
    rooms = Rooms(connections, statements["make_partitions"], found.partition_size) if found.partition_size else None
    return PostgresBackend(
        target,
        connections,
        found.identity,
        capabilities_of("postgresql", durable=found.durable),
        statements,
        Gate(connections, statements["horizon"]),
        PostgresCalls(statements, serialized=target.ordering == "serialized"),
        Reading(event_of),
        Wakeup(connections, target, statements["tell"], channel_of(target.schema)),
        limits,
        rooms=rooms,
        records=found.version >= 2,
    )


def capabilities_of(backend: str, *, durable: bool) -> Capabilities:
    """What a layout of tables on a PostgreSQL server promises."""
    return Capabilities(
        backend=backend,
        durable=durable,
        shared=True,
        order="total",
        gapless_positions=False,
        append_condition=True,
        atomic_streams=True,
        read_backwards=True,
        caller_transaction=True,
        stream_policies=True,
        snapshots=True,
        checkpoints=True,
        records=True,
    )
