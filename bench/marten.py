"""A Marten application's tables: beside a bare client that does the same safe writes there, by hand, with the
application's own function.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import multiprocessing
import os
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import psycopg

import headwater as hw
from headwater.backends.marten import Options, compatible_sql
from headwater.limits import Limits
from headwater.reading import FIRST_PAGE_EVENTS
from measuring import LOAN, Comparison, alternate, show, workspace
from servers import postgres

TYPE, ALIAS, DOTNET = "LoanSubmitted", "loan_submitted", "Bank.LoanSubmitted, Bank"
LOAN_THERE = {"".join(word.capitalize() for word in name.split("_")): value for name, value in LOAN.items()}
"""The event as the .NET application writes it."""

CONNECTIONS = 16
"""At most, by hand."""
BATCH = 1_000
LOG_EVENTS, STREAM_EVENTS = 100_000, 20_000
STREAM = "loan-173688"
SEEN_WARM, SEEN_EVENTS, SEEN_PAUSE = 20, 150, 0.02
CHANNEL = "bench_marten"

LOCK = "SELECT version FROM {}.mt_streams WHERE id = %s FOR UPDATE"
NEW = "INSERT INTO {}.mt_streams (id, version, tenant_id) VALUES (%s, 0, '*DEFAULT*') ON CONFLICT DO NOTHING"
APPEND = """SELECT {}.mt_quick_append_events(%s::varchar, NULL::varchar, '*DEFAULT*'::varchar, %s::uuid[],
    %s::varchar[], %s::varchar[], %s::text[]::jsonb[], %s::bytea[], %s::timestamptz[])"""
COLUMNS = "id, stream_id, version, data, type, timestamp"

names = itertools.count(1)
schemas = itertools.count(os.getpid() * 1_000)


class ByHand:
    """What a careful program does on a connection of its own: one that locks a stream before it appends to it."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], schema: str) -> None:
        self._connection = connection
        self._lock, self._new, self._append = (text.format(schema) for text in (LOCK, NEW, APPEND))

    async def append(self, stream: str, events: list[Any], *, tell: bool = False) -> None:
        while await self._ask(self._lock, stream) is None:
            await self._connection.execute(self._new, (stream,), prepare=True)
        count = len(events)
        ids = [uuid.uuid4() for _ in events]
        bodies = [json.dumps(event) for event in events]
        at = [datetime.now(UTC)] * count
        await self._ask(self._append, stream, ids, [ALIAS] * count, [DOTNET] * count, bodies, [None] * count, at)
        if tell:
            await self._connection.execute(f"NOTIFY {CHANNEL}")
        await self._connection.commit()

    async def _ask(self, statement: str, *values: Any) -> Any:
        return await (await self._connection.execute(statement, values, prepare=True)).fetchone()


@asynccontextmanager
async def hands(server: str, schema: str, count: int) -> AsyncIterator[asyncio.Queue[ByHand]]:
    """So many connections, for whoever comes first."""
    free: asyncio.Queue[ByHand] = asyncio.Queue()
    connections = [await psycopg.AsyncConnection.connect(server) for _ in range(count)]
    for connection in connections:
        free.put_nowait(ByHand(connection, schema))
    try:
        yield free
    finally:
        for connection in connections:
            await connection.close()


@contextmanager
def application(server: str) -> Iterator[str]:
    """The schema of a new Marten application; gone afterwards, with what stands beside it."""
    schema = f"bench_{next(schemas)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(compatible_sql(Options(schema=schema, identity="string")))
        yield schema
        connection.execute(f"SET client_min_messages = warning; DROP SCHEMA {schema} CASCADE")
        connection.execute(f"DROP SCHEMA IF EXISTS headwater_{schema} CASCADE")


def url_of(server: str, schema: str) -> str:
    """The store on those tables. The gap is the default's, for no number goes missing here."""
    said = f"schema={schema}&append=yes&dotnet={TYPE}:{DOTNET.replace(' ', '%20')}"
    return f"marten+{server}{'&' if '?' in server else '?'}{said}"


def loans(count: int) -> list[hw.NewEvent]:
    return [hw.NewEvent(TYPE, LOAN) for _ in range(count)]


async def appended(append: Callable[[str], Awaitable[Any]], writers: int, count: int, size: int) -> float:
    """Events a second by so many tasks, each to ten streams in turn."""

    async def write(base: int, each: int) -> None:
        for number in range(each):
            await append(f"loan-{base}-{number % 10}")

    await asyncio.gather(*(write(next(names), max(1, 20 // size)) for _ in range(writers)))  # warm
    start = time.perf_counter()
    await asyncio.gather(*(write(next(names), count // writers) for _ in range(writers)))
    return count * size / (time.perf_counter() - start)


def ours(url: str, writers: int, count: int, size: int = 1) -> float:
    async def main() -> float:
        async with hw.connect(url) as store:
            return await appended(lambda stream: store.append(stream, loans(size)), writers, count, size)

    return asyncio.run(main())


def by_hand(server: str, schema: str, writers: int, count: int, size: int = 1) -> float:
    async def main() -> float:
        async with hands(server, schema, min(writers, CONNECTIONS)) as free:

            async def append(stream: str) -> None:
                hand = await free.get()
                await hand.append(stream, [LOAN_THERE] * size)
                free.put_nowait(hand)

            return await appended(append, writers, count, size)

    return asyncio.run(main())


async def fill(append: Callable[[str], Awaitable[Any]]) -> None:
    """A log in which every fifth append goes to one long stream."""
    for number in range(LOG_EVENTS // BATCH):
        await append(STREAM if number % (LOG_EVENTS // STREAM_EVENTS) == 0 else f"loan-{number}")


async def filled_by_us(server: str, schema: str) -> None:
    async with hw.connect(url_of(server, schema)) as store:
        await fill(lambda stream: store.append(stream, loans(BATCH)))


async def filled_by_hand(server: str, schema: str) -> None:
    async with hands(server, schema, 1) as free:
        hand = await free.get()
        await fill(lambda stream: hand.append(stream, [LOAN_THERE] * BATCH))
    async with hw.connect(url_of(server, schema)):  # what stands beside is made
        pass


def ours_read(url: str, pick: Callable[[hw.EventStore], Any], count: int) -> float:
    """Events a second through the store, their data decoded."""

    async def main() -> float:
        async with hw.connect(url) as store:
            start = time.perf_counter()
            assert len([event.data async for event in pick(store)]) == count
            return count / (time.perf_counter() - start)

    return asyncio.run(main())


def by_hand_read(server: str, schema: str, key: str, where: str, count: int) -> float:
    """Rows a second in pages as the store's, by position or version; the driver decodes the data."""
    sql = f"SELECT {key}, {COLUMNS} FROM {schema}.mt_events WHERE {where} {key} > %s ORDER BY {key} LIMIT %s"

    async def main() -> float:
        async with await psycopg.AsyncConnection.connect(server, autocommit=True) as connection:
            start, after, read, limit = time.perf_counter(), 0, 0, FIRST_PAGE_EVENTS
            while True:
                cursor = await connection.execute(sql, (after, limit), prepare=True, binary=True)
                rows = await cursor.fetchall()
                if not rows:
                    assert read == count
                    return count / (time.perf_counter() - start)
                read, after, limit = read + len(rows), rows[-1][0], Limits().page_events_max

    return asyncio.run(main())


async def seen_by_us(server: str, schema: str, result: Pipe) -> None:
    """Microseconds from just before each append to where a subscription hands it out."""
    async with hw.connect(url_of(server, schema)) as store:
        taken: list[float] = []
        result.send("ready")
        async for event in store.subscribe():
            assert isinstance(event, hw.Event)
            taken.append((time.time_ns() - event.data["at"]) / 1_000)
            if len(taken) == SEEN_WARM + SEEN_EVENTS:
                break
        result.send(taken[SEEN_WARM:])


async def seen_by_hand(server: str, schema: str, result: Pipe) -> None:
    """The same by hand: wait for a notification, read what has come, and go no further than a missing number."""
    sql = f"SELECT seq_id, {COLUMNS} FROM {schema}.mt_events WHERE seq_id > %s ORDER BY seq_id LIMIT 1000"
    async with await psycopg.AsyncConnection.connect(server, autocommit=True) as connection:
        await connection.execute(f"LISTEN {CHANNEL}")
        taken: list[float] = []
        after = 0
        result.send("ready")
        while len(taken) < SEEN_WARM + SEEN_EVENTS:
            cursor = await connection.execute(sql, (after,), prepare=True, binary=True)
            for row in await cursor.fetchall():
                if row[0] != after + 1:
                    break
                after = row[0]
                taken.append((time.time_ns() - row[4]["At"]) / 1_000)
            async for _ in connection.notifies(timeout=0.1, stop_after=1):
                pass
        result.send(taken[SEEN_WARM:])


Reading = Callable[[str, str, Pipe], Coroutine[Any, Any, None]]


def _reader(reading: Reading, server: str, schema: str, result: Pipe) -> None:
    asyncio.run(reading(server, schema, result))


def seen(reading: Reading, server: str, writing: Callable[[str, str], Any]) -> list[float]:
    """Delays of appends in this process, one now and then, to a reader in another one."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()

    async def main(schema: str) -> None:
        async with writing(server, schema) as append:
            for number in range(SEEN_WARM + SEEN_EVENTS):
                await append(f"loan-{number % 10}", time.time_ns())
                await asyncio.sleep(SEEN_PAUSE)

    with application(server) as schema:
        child = context.Process(target=_reader, args=(reading, server, schema, there), daemon=True)
        child.start()
        there.close()
        assert here.recv() == "ready"
        asyncio.run(main(schema))
        delays: list[float] = here.recv()
        child.join()
    return delays


@asynccontextmanager
async def written_by_us(server: str, schema: str) -> AsyncIterator[Callable[[str, int], Awaitable[Any]]]:
    async with hw.connect(url_of(server, schema)) as store:
        yield lambda stream, at: store.append(stream, [hw.NewEvent(TYPE, LOAN | {"at": at})])


@asynccontextmanager
async def written_by_hand(server: str, schema: str) -> AsyncIterator[Callable[[str, int], Awaitable[Any]]]:
    async with hands(server, schema, 1) as free:
        hand = await free.get()
        yield lambda stream, at: hand.append(stream, [LOAN_THERE | {"At": at}], tell=True)


def appends(server: str) -> list[Comparison]:
    hand = "bare client, the same safe write"
    cases = (
        ("single events, 1 writer", hand, 1, 1_500, 1),
        ("single events, 16 writers", f"{hand}, 16 connections", 16, 4_800, 1),
        ("single events, 64 writers", f"{hand}, 16 connections", 64, 6_400, 1),
        (f"appends of {BATCH:,} events, 1 writer", hand, 1, 20, BATCH),
    )
    comparisons = []
    for case, against, writers, count, size in cases:
        with application(server) as mine, application(server) as theirs:
            url = url_of(server, mine)
            store, other = alternate(
                5,
                partial(ours, url, writers, count, size),
                partial(by_hand, server, theirs, writers, count, size),
            )
        comparisons.append(Comparison(case, store, other, against, 0.7))
    return comparisons


def reads(server: str) -> list[Comparison]:
    comparisons = []
    for whose, filling in (("the application's events", filled_by_hand), ("events appended here", filled_by_us)):
        with application(server) as schema:
            asyncio.run(filling(server, schema))
            with psycopg.connect(server, autocommit=True) as connection:
                tables = f"{schema}.mt_events, {schema}.mt_streams, headwater_{schema}.beside"
                connection.execute(f"VACUUM ANALYZE {tables}")  # as the server does by itself, sooner or later
            url = url_of(server, schema)
            log, rows, stream, versions = alternate(
                5,
                partial(ours_read, url, lambda store: store.read_all(), LOG_EVENTS),
                partial(by_hand_read, server, schema, "seq_id", "", LOG_EVENTS),
                partial(ours_read, url, lambda store: store.read(STREAM), STREAM_EVENTS),
                partial(by_hand_read, server, schema, "version", f"stream_id = '{STREAM}' AND", STREAM_EVENTS),
            )
        against = "bare client: SELECT in pages as large, and JSON"
        comparisons += [
            Comparison(f"reading the whole log, {whose}", log, rows, against, 0.7),
            Comparison(f"reading a stream, {whose}", stream, versions, against, 0.7),
        ]
    return comparisons


def delays(server: str) -> list[Comparison]:
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(3):
        mine += seen(seen_by_us, server, written_by_us)
        theirs += seen(seen_by_hand, server, written_by_hand)
    hand = "bare client: NOTIFY in the append's transaction, LISTEN"
    return [
        Comparison("p50", statistics.median(mine), statistics.median(theirs), hand, at_most=1.4),
        Comparison("p99", late(mine), late(theirs), hand, at_most=1.4),
    ]


def late(taken: list[float]) -> float:
    return statistics.quantiles(taken, n=100)[98]


def main() -> None:
    with workspace() as name, postgres(Path(name).absolute()) as server:
        rates = appends(server) + reads(server)
        delayed = delays(server)
    show("Marten's tables: events a second", rates)
    show("Marten's tables: from an append to a subscription in another process, microseconds", delayed)


if __name__ == "__main__":
    main()
