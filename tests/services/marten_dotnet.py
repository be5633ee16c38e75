"""A double of a .NET application that keeps its events with Marten: what Marten does, statement by statement.

Marten sends some of these statements in one batch. Here they go one by one, so that a test can stop between them:
``at`` is awaited with the name of each step. ``commit=False`` ends an append in a roll back. ``expected`` is the
version before the append. (Marten's own ``Append(id, expectedVersion, …)`` takes the one after it.)
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from headwater.backends.marten.compatible import Options
from tests.services.marten_events import Appended, Archived, Conflict, Missing, NetEvent
from tests.services.marten_statements import Connection, Statements, StreamId

__all__ = ["DotNet"]

At = Callable[[str], Awaitable[None]]
Events = Sequence[NetEvent]

TOMBSTONES = "mt_tombstone"
TOMBSTONE_TYPE = "JasperFx.Events.Tombstone, JasperFx.Events"


async def _go_on(step: str) -> None:
    pass


class DotNet:
    """The application. Open it with ``async with``."""

    def __init__(self, conninfo: str, options: Options, tenant: str = "*DEFAULT*") -> None:
        self.options = options
        self._sql = Statements(options, tenant)
        self._tombstones = TOMBSTONES if options.identity == "string" else uuid.uuid4()  # another in each process
        self._pool = AsyncConnectionPool(
            conninfo, min_size=0, max_size=40, open=False, kwargs={"autocommit": True, "application_name": "Bank.Loans"}
        )

    async def __aenter__(self) -> DotNet:
        await self._pool.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.close()

    async def rich_append(
        self, stream: StreamId, events: Events, expected: int | None = None, *, at: At = _go_on, commit: bool = True
    ) -> Appended:
        """Append in mode Rich: numbers are drawn, and the stream is looked at, before the transaction begins.

        Steps: ``drawn``, ``begun``, ``stream`` (its row is written), ``inserted``, ``commit`` (about to).
        """
        async with self._pool.connection() as connection:  # which goes back to the pool
            numbers = await self._sql.draw(connection, len(events))
            head = await self._sql.head(connection, stream)
        await at("drawn")
        _check(head, expected, numbers)
        async with self._transaction(commit, numbers) as connection:
            await at("begun")
            return await self._write(connection, stream, events, head, numbers, at)

    async def exclusive_append(
        self, stream: StreamId, events: Events, *, at: At = _go_on, commit: bool = True
    ) -> Appended:
        """``AppendExclusive`` in mode Rich: the stream's row is locked, and all else happens in that transaction.

        Steps: ``begun``, ``locked``, ``drawn``, ``stream``, ``inserted``, ``commit``.
        """
        async with self._transaction(commit) as connection:
            await at("begun")
            await self._lock(connection, stream, at)
            numbers = await self._sql.draw(connection, len(events))
            head = await self._sql.head(connection, stream)
            await at("drawn")
            _check(head, None, numbers)
            return await self._write(connection, stream, events, head, numbers, at)

    async def start_stream_quick(
        self, stream: StreamId, events: Events, *, at: At = _go_on, commit: bool = True
    ) -> Appended:
        """``StartStream<Loan>`` in the modes Quick: each row's statement draws its number.

        Steps: ``begun``, ``stream``, ``inserted``, ``commit``.
        """
        async with self._transaction(commit) as connection:
            await at("begun")
            await self._sql.new_stream(connection, stream, len(events), "loan")
            return await self._insert(connection, stream, events, 0, None, at)

    async def quick_append(
        self,
        stream: StreamId,
        events: Events,
        expected: int | None = None,
        *,
        lock: bool = False,
        at: At = _go_on,
        commit: bool = True,
    ) -> Appended:
        """Append in the modes Quick: by the function; by 8.x without it, where a version is expected.

        ``lock``: the stream's row is locked first, as by ``AppendExclusive`` and ``FetchForExclusiveWriting``.

        Steps: ``begun``, ``locked``, ``inserted``, ``commit``; where it goes without the function, also ``stream``.
        """
        async with self._transaction(commit) as connection:
            await at("begun")
            if lock:
                await self._lock(connection, stream, at)
            if self.options.version == 8 and expected is not None:
                moved = await self._sql.move(connection, stream, expected, len(events))
                return await self._insert(connection, stream, events, expected, None, at, moved)
            version, *numbers = await self._sql.call(connection, stream, events, expected)
            await at("inserted")
            await at("commit")
            return Appended(version, tuple(numbers))

    async def tombstone(self, numbers: Sequence[int]) -> None:
        """Fill numbers that were drawn in vain, as Marten does in the background after a failed append.

        The version is the number, too. The time is .NET's smallest, which its driver writes as minus infinity.
        """
        async with self._transaction() as connection:
            await self._sql.tombstone_stream(connection, self._tombstones)
            for number in numbers:
                event = NetEvent(type="tombstone", dotnet_type=TOMBSTONE_TYPE, data={})
                await self._sql.put(connection, self._tombstones, event, number, number, "-infinity")

    async def archive(self, stream: StreamId) -> None:
        """``ArchiveStream``."""
        async with self._transaction() as connection:
            await self._sql.archive(connection, stream)

    async def mask(self, event_id: uuid.UUID, data: dict[str, Any]) -> None:
        """``ApplyEventDataMasking``: other data in the place of the first ones."""
        async with self._transaction() as connection:
            await self._sql.overwrite(connection, event_id, data)

    async def high_water(self) -> int:
        """One poll of the daemon: the mark moves to the end of the unbroken run of numbers, and is noted."""
        async with self._pool.connection() as connection:
            mark = await self._sql.mark(connection)
            reached = await self._sql.run(connection, mark)
            if reached > mark:
                await self._sql.note_mark(connection, reached)
            return reached

    async def pass_over(self, end: int) -> int:
        """What the daemon of 9.x does about a gap that it holds to be dead: the mark jumps to ``end``."""
        async with self._pool.connection() as connection:
            return await self._sql.pass_over(connection, await self._sql.mark(connection), end)

    @asynccontextmanager
    async def _transaction(self, commit: bool = True, numbers: tuple[int, ...] = ()) -> AsyncIterator[Connection]:
        try:
            async with self._pool.connection() as connection, connection.transaction(force_rollback=not commit):
                yield connection
        except psycopg.Error as error:
            if error.sqlstate == "MT001":
                raise Archived from error
            if error.sqlstate == "MT003" or _lost_a_race(error):
                raise Conflict(error.sqlstate, error.diag.constraint_name, numbers) from error
            raise

    async def _lock(self, connection: Connection, stream: StreamId, at: At) -> None:
        if await self._sql.head(connection, stream, lock=True) is None:
            raise Missing(stream)
        await at("locked")

    async def _write(
        self, connection: Connection, stream: StreamId, events: Events, head: Any, numbers: tuple[int, ...], at: At
    ) -> Appended:
        if head is None:
            await self._sql.new_stream(connection, stream, len(events))
            return await self._insert(connection, stream, events, 0, numbers, at)
        moved = await self._sql.move(connection, stream, head[0], len(events))
        return await self._insert(connection, stream, events, head[0], numbers, at, moved)

    async def _insert(
        self,
        connection: Connection,
        stream: StreamId,
        events: Events,
        version: int,
        numbers: tuple[int, ...] | None,
        at: At,
        moved: bool = True,
    ) -> Appended:
        """The rest of the batch. That the stream's row had moved is looked at behind it: the rows come first."""
        await at("stream")
        given = numbers or (None,) * len(events)
        stored = tuple(
            [
                await self._sql.put(connection, stream, event, version + nth, number)
                for nth, (event, number) in enumerate(zip(events, given, strict=True), 1)
            ]
        )
        await at("inserted")
        if not moved:
            raise Conflict(None, None, numbers or ())
        await at("commit")
        return Appended(version + len(events), stored)


def _check(head: Any, expected: int | None, numbers: tuple[int, ...]) -> None:
    """What Marten looks at by itself. The numbers are drawn by then."""
    if head is not None and head[1]:
        raise Archived
    if expected is not None and expected != (head[0] if head else 0):
        raise Conflict(None, None, numbers)


def _lost_a_race(error: psycopg.Error) -> bool:
    """Whether it is one of the two unique violations that mean so: of the stream's row, or of an event's version."""
    table, constraint = error.diag.table_name, error.diag.constraint_name
    return error.sqlstate == "23505" and (table == "mt_streams" or constraint == "pk_mt_events_stream_and_version")
