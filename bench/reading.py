"""Reading the log and one stream: against the raw driver fetching the same rows, and the memory that it takes."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

import headwater as hw
from measuring import Comparison, alternate, loan_event, rate, show, workspace
from servers import fresh_store, postgres

EVENTS = 1_000_000
STREAM = "loan-173688"
COLUMNS = "position, stream, version, id, type, data, metadata, tags, content_type"


async def fill(url: str) -> None:
    """A million events; every hundredth append goes to one long stream."""
    async with hw.connect(url) as store:
        for number in range(EVENTS // 1_000):
            stream = STREAM if number % 10 == 0 else f"loan-{number}"
            await store.append(stream, [loan_event() for _ in range(1_000)])


def ours(url: str, pick: Callable[[hw.EventStore], object]) -> float:
    """Events a second through the store."""

    async def main() -> float:
        async with hw.connect(url) as store:
            loop = asyncio.get_running_loop()
            start, count = loop.time(), 0
            async for _ in pick(store):  # type: ignore[attr-defined]
                count += 1
            return count / (loop.time() - start)

    return asyncio.run(main())


def raw_sqlite(path: Path, where: str) -> float:
    """Rows a second from one cursor of the standard library's driver."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = 0

        def fetch() -> None:
            nonlocal rows
            cursor = connection.execute(f"select {COLUMNS}, recorded_us, occurred_us from events {where}")
            while page := cursor.fetchmany(1_000):
                rows += len(page)

        return rate(1, fetch) * rows


def raw_postgres(url: str, key: str, where: str) -> float:
    """Rows a second from psycopg's client cursor, in pages of 1,000 by position or version, binary, prepared.

    The data as text: by itself, psycopg would decode it as well.
    """
    columns = COLUMNS.replace("data", "data::text")  # metadata too
    schema = dict(part.split("=") for part in urlsplit(url).query.split("&"))["schema"]

    async def main() -> float:
        loop = asyncio.get_running_loop()
        server = url.split("schema=")[0].rstrip("?&")
        async with await psycopg.AsyncConnection.connect(server, autocommit=True) as connection:
            await connection.execute(f"set search_path to {schema}")
            start, count, after = loop.time(), 0, 0
            sql = f"select {key}, {columns} from events where {where} {key} > %s order by {key} limit 1000"
            while True:
                cursor = await connection.execute(sql, (after,), prepare=True, binary=True)
                rows = await cursor.fetchall()
                if not rows:
                    return count / (loop.time() - start)
                count, after = count + len(rows), rows[-1][0]

    return asyncio.run(main())


def growth_mib(url: str) -> float:
    """How much a process grows while it reads the whole log, in MiB: run as a process of its own."""
    result = subprocess.run([sys.executable, __file__, "--grow", url], capture_output=True, text=True, check=True)
    return float(result.stdout)


async def grow(url: str) -> None:
    async with hw.connect(url) as store:
        async for _ in store.read_all(limit=10):  # everything that is loaded once
            pass
        before = peak_mib()
        count = 0
        async for _ in store.read_all():
            count += 1
        assert count == EVENTS, count
        print(peak_mib() - before)


def peak_mib() -> float:
    """The most memory this program has held, in MiB. Not ``ru_maxrss``: that one remembers the parent's as well."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1_024


def main() -> None:
    with workspace() as name, postgres(Path(name).absolute()) as server, fresh_store(server) as postgres_url:
        folder = Path(name).absolute()
        sqlite_url = f"sqlite:///{folder}/log.db"
        for url in (sqlite_url, postgres_url):
            asyncio.run(fill(url))
        number = f"(select number from streams where name = '{STREAM}')"
        by_position, by_version = "order by position", f"where stream_number = {number} order by version"
        figures = alternate(
            3,
            lambda: ours(sqlite_url, lambda store: store.read_all()),
            lambda: raw_sqlite(folder / "log.db", by_position),
            lambda: ours(sqlite_url, lambda store: store.read(STREAM)),
            lambda: raw_sqlite(folder / "log.db", by_version),
            lambda: ours(postgres_url, lambda store: store.read_all()),
            lambda: raw_postgres(postgres_url, "position", ""),
            lambda: ours(postgres_url, lambda store: store.read(STREAM)),
            lambda: raw_postgres(postgres_url, "version", f"stream = '{STREAM}' and"),
        )
        grown = [growth_mib(sqlite_url), growth_mib(postgres_url)]
    show(
        "Reading, events a second",
        [
            Comparison("SQLite, read_all", figures[0], figures[1], "sqlite3 cursor, same rows", 0.4),
            Comparison("SQLite, read one stream", figures[2], figures[3], "sqlite3 cursor, same rows", 0.4),
            Comparison("PostgreSQL, read_all", figures[4], figures[5], "psycopg, same rows", 0.4),
            Comparison("PostgreSQL, read one stream", figures[6], figures[7], "psycopg, same rows", 0.4),
        ],
    )
    show(
        "Reading 1,000,000 events: growth of the process, MiB",
        [
            Comparison("SQLite", grown[0], 80, "80 MiB", at_most=1),
            Comparison("PostgreSQL", grown[1], 80, "80 MiB", at_most=1),
        ],
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--grow"]:
        asyncio.run(grow(sys.argv[2]))
    else:
        main()
