"""Appends to SQLite: against the disk's own durable writes, and against raw ``executemany`` into the same tables."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from pathlib import Path

import msgspec

import headwater as hw
from headwater import sync
from headwater.backends.sqlite import schema_sql
from measuring import LOAN, Comparison, alternate, durable_writes, loan_event, rate, show, workspace

names = itertools.count()


def singles(folder: Path, writers: int, count: int) -> float:
    """Single-event appends a second by so many tasks, each to ten streams of its own in turn."""

    async def write(store: hw.EventStore, writer: int, each: int) -> None:
        for number in range(each):
            await store.append(f"loan-{writer}-{number % 10}", [loan_event()])

    async def main() -> float:
        async with hw.connect(f"sqlite:///{folder}/singles-{next(names)}.db") as store:
            await asyncio.gather(*(write(store, writer, 2_000 // writers) for writer in range(writers)))  # warm
            loop = asyncio.get_running_loop()
            start = loop.time()
            await asyncio.gather(*(write(store, writer, count // writers) for writer in range(writers)))
            return count // writers * writers / (loop.time() - start)

    return asyncio.run(main())


def stepped(folder: Path, count: int) -> float:
    """The same for one writer without asyncio, through ``headwater.sync``."""
    with sync.connect(f"sqlite:///{folder}/stepped-{next(names)}.db") as store:

        def write() -> None:
            for number in range(count):
                store.append(f"loan-{number % 10}", [loan_event()])

        write()  # warm
        return rate(count, write)


def batches(folder: Path, appends: int) -> float:
    """Events a second in appends of 1,000, each to a stream of its own."""

    async def main() -> float:
        async with hw.connect(f"sqlite:///{folder}/batches-{next(names)}.db") as store:
            loop = asyncio.get_running_loop()
            start = loop.time()
            for number in range(appends):
                await store.append(f"loan-{number}", [loan_event() for _ in range(1_000)])
            return appends * 1_000 / (loop.time() - start)

    return asyncio.run(main())


def raw_batches(folder: Path, appends: int) -> float:
    """The same rows by ``executemany``, one durable transaction for every 1,000."""
    connection = sqlite3.connect(folder / f"raw-{next(names)}.db", isolation_level=None)
    connection.executescript("pragma journal_mode = wal; pragma synchronous = full; pragma cache_size = -65536;")
    connection.executescript(schema_sql())
    connection.execute("insert into kinds (number, category, type) values (1, 'loan', 'A_SUBMITTED')")
    data = msgspec.json.encode(LOAN).decode()
    insert = (
        "insert into events (position, stream, stream_number, version, id, type, kind, data, recorded_us) "
        "values (?, ?, ?, ?, ?, ?, 1, ?, ?)"
    )

    def write() -> None:
        for number in range(appends):
            first = number * 1_000 + 1
            rows = [
                (
                    first + i,
                    f"loan-{number}",
                    first,
                    i + 1,
                    hw.uuid7().bytes,
                    "A_SUBMITTED",
                    data,
                    1_317_422_324_546_000,
                )
                for i in range(1_000)
            ]
            connection.execute("begin immediate")
            connection.executemany(insert, rows)
            connection.execute("commit")

    result = rate(appends * 1_000, write)
    connection.close()
    return result


def main() -> None:
    with workspace() as name:
        folder = Path(name).absolute()
        disk, alone, one, many, most = alternate(
            7,
            lambda: durable_writes(folder),
            lambda: stepped(folder, 2_000),
            lambda: singles(folder, 1, 2_000),
            lambda: singles(folder, 32, 16_000),
            lambda: singles(folder, 256, 25_600),
        )
        ours, raw = alternate(5, lambda: batches(folder, 50), lambda: raw_batches(folder, 50))
    durable = "fdatasync of 200 bytes"
    show(
        "SQLite: appends, events a second",
        [
            Comparison("single events, 1 writer (headwater.sync)", alone, disk, durable, 0.7),
            Comparison("single events, 1 writer (asyncio)", one, disk, durable, 0.7),
            Comparison("single events, 32 writers", many, disk, durable, 4),
            Comparison("single events, 256 writers", most, disk, durable, 8),
            Comparison("appends of 1,000 events", ours, raw, "executemany, same tables", 0.6),
        ],
    )


if __name__ == "__main__":
    main()
