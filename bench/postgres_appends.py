"""Appends to PostgreSQL: against a bare insert, the usual template, and an exclusive lock instead of the gate."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import time
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

import headwater as hw
from measuring import LOAN, Comparison, alternate, loan_event, show, workspace
from servers import fresh_store, postgres

TABLE = """
drop table if exists template_events;
create table template_events (
    position bigserial primary key, stream text not null, version bigint not null, id uuid not null unique,
    type text not null, category text not null, data jsonb not null, tags text[] not null default '{}',
    recorded_at timestamptz not null default clock_timestamp(), unique (stream, version)
);
create index template_events_type on template_events (type, position);
create index template_events_category on template_events (category, position);
"""
INSERT = "insert into template_events (stream, version, id, type, category, data) values (%s, %s, %s, %s, 'loan', %s)"

names = itertools.count(1)


def ours(url: str, writers: int, count: int) -> float:
    """Single-event appends a second by so many tasks of one process, each to ten streams in turn."""

    async def write(store: hw.EventStore, base: int, each: int) -> None:
        for number in range(each):
            await store.append(f"loan-{base}-{number % 10}", [loan_event()])

    async def main() -> float:
        async with hw.connect(url) as store:
            await asyncio.gather(*(write(store, next(names), 20) for _ in range(writers)))  # warm
            start = time.perf_counter()
            await asyncio.gather(*(write(store, next(names), count // writers) for _ in range(writers)))
            return count / (time.perf_counter() - start)

    return asyncio.run(main())


def bare_insert(server: str, count: int) -> float:
    """The same row into a table with the same indexes, autocommitted, prepared: no check of anything."""

    async def main() -> float:
        async with await psycopg.AsyncConnection.connect(server, autocommit=True) as connection:
            base = next(names)
            start = time.perf_counter()
            for number in range(count):
                values = (f"loan-{base}-{number % 10}", number, hw.uuid7(), "A_SUBMITTED", Jsonb(LOAN))
                await connection.execute(INSERT, values, prepare=True)
            return count / (time.perf_counter() - start)

    return asyncio.run(main())


def template(server: str, writers: int, count: int) -> float:
    """What is usually copied: from a pool, in a transaction, read the version, insert row by row, commit."""

    async def write(pool: AsyncConnectionPool, each: int) -> None:
        base = next(names)
        for number in range(each):
            async with pool.connection() as connection, connection.transaction():
                stream = f"loan-{base}-{number % 10}"
                cursor = await connection.execute(
                    "select coalesce(max(version), 0) from template_events where stream = %s", (stream,)
                )
                (version,) = await cursor.fetchone()
                values = (stream, version + 1, hw.uuid7(), "A_SUBMITTED", Jsonb(LOAN))
                await connection.execute(INSERT, values)

    async def main() -> float:
        async with AsyncConnectionPool(server, min_size=writers, max_size=writers) as pool:
            await pool.wait()
            start = time.perf_counter()
            await asyncio.gather(*(write(pool, count // writers) for _ in range(writers)))
            return count / (time.perf_counter() - start)

    return asyncio.run(main())


def _process(url: str, base: int, each: int, ready: object, go: object) -> None:
    async def main() -> None:
        async with hw.connect(url) as store:
            await store.append(f"warm-{base}", [loan_event()])
            ready.release()
            await asyncio.to_thread(go.wait)
            for number in range(each):
                await store.append(f"loan-{base}-{number % 10}", [loan_event()])

    asyncio.run(main())


def processes(url: str, count: int, each: int) -> float:
    """Single-event appends a second by so many processes of one writer each."""
    context = multiprocessing.get_context("spawn")
    ready, go = context.Semaphore(0), context.Event()
    children = [context.Process(target=_process, args=(url, next(names), each, ready, go)) for _ in range(count)]
    for child in children:
        child.start()
    for _ in children:
        ready.acquire()
    start = time.perf_counter()
    go.set()
    for child in children:
        child.join()
    return count * each / (time.perf_counter() - start)


def main() -> None:
    with (
        workspace() as name,
        postgres(Path(name).absolute()) as server,
        fresh_store(server) as url,
        fresh_store(server, "&ordering=serialized") as serialized,
    ):
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(TABLE)
        one, bare = alternate(5, lambda: ours(url, 1, 2_000), lambda: bare_insert(server, 2_000))
        many, usual = alternate(5, lambda: ours(url, 32, 12_800), lambda: template(server, 32, 3_200))
        gate, lock = alternate(5, lambda: processes(url, 8, 1_000), lambda: processes(serialized, 8, 1_000))
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("drop table template_events")
    show(
        "PostgreSQL: appends, events a second",
        [
            Comparison("single events, 1 writer", one, bare, "bare autocommitted insert", 0.85),
            Comparison("single events, 32 writers", many, usual, "usual template, pool of 32", 5),
            Comparison("single events, 8 processes", gate, lock, "exclusive lock instead of the gate", 1.5),
        ],
    )


if __name__ == "__main__":
    main()
