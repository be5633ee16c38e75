"""Other event stores on the same machine, each through its own usual interface, beside ours, with the same payload.

``eventsourcing`` (Python, SQLite and PostgreSQL): its application recorder, which is what its applications call.
UmaDB (a server in Rust; the wheel carries it): its Python client over its own protocol.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec

import headwater as hw
from measuring import LOAN, Comparison, loan_event, rate, show, workspace
from servers import fresh_store, postgres

DATA = msgspec.json.encode(LOAN)
names = itertools.count()

Measures = dict[str, float]
CASES = ("1 writer", "32 writers", "appends of 1,000", "reading all")


def headwater(url: str, count: int) -> Measures:
    """Ours, with as many tasks of one process as there are writers."""

    async def singles(store: hw.EventStore, writers: int) -> float:
        async def write(base: int) -> None:
            for _ in range(count // writers):
                await store.append(f"loan-{base}", [loan_event()])

        start = time.perf_counter()
        await asyncio.gather(*(write(next(names)) for _ in range(writers)))
        return count // writers * writers / (time.perf_counter() - start)

    async def batches(store: hw.EventStore) -> float:
        start = time.perf_counter()
        for _ in range(50):
            await store.append(f"loan-{next(names)}", [loan_event() for _ in range(1_000)])
        return 50_000 / (time.perf_counter() - start)

    async def read(store: hw.EventStore) -> float:
        start, seen = time.perf_counter(), 0
        async for _ in store.read_all():
            seen += 1
        return seen / (time.perf_counter() - start)

    async def main() -> Measures:
        async with hw.connect(url) as store:
            figures = [await singles(store, 1), await singles(store, 32), await batches(store), await read(store)]
            return dict(zip(CASES, figures, strict=True))

    return asyncio.run(main())


def threaded(writers: int, count: int, write: Callable[[int], object]) -> float:
    """Calls a second by so many threads: how synchronous clients are used by many writers."""

    def work() -> None:
        with concurrent.futures.ThreadPoolExecutor(writers) as pool:
            list(pool.map(lambda _: [write(1) for _ in range(count // writers)], range(writers)))

    return rate(count // writers * writers, work)


def eventsourcing(environment: dict[str, str], count: int) -> Measures:
    """The ``eventsourcing`` package's recorder, made by its own factory."""
    from eventsourcing.persistence import InfrastructureFactory, StoredEvent
    from eventsourcing.utils import Environment

    factory = InfrastructureFactory.construct(Environment(name="Bench", env=environment))
    recorder = factory.application_recorder()

    def append(events: int) -> None:
        stream = uuid.uuid4()
        recorder.insert_events([StoredEvent(stream, number + 1, "A_SUBMITTED", DATA) for number in range(events)])

    def read() -> int:
        seen, start = 0, 1
        while page := recorder.select_notifications(start, 1_000):
            seen, start = seen + len(page), page[-1].id + 1
        return seen

    one = rate(count, lambda: [append(1) for _ in range(count)])
    many = threaded(32, count, append)
    batches = rate(50_000, lambda: [append(1_000) for _ in range(50)])
    begun = time.perf_counter()
    reading = read() / (time.perf_counter() - begun)
    factory.close()
    return dict(zip(CASES, [one, many, batches, reading], strict=True))


def umadb(folder: Path, count: int) -> Measures:
    """A UmaDB server of our own, called by its client."""
    import umadb as client_of

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [Path(sys.executable).with_name("umadb"), "--listen", f"127.0.0.1:{port}", "--db-path", folder / "uma.db"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = _connected(client_of, f"http://127.0.0.1:{port}")

        def append(events: int) -> None:
            stream = f"stream:{next(names)}"
            client.append([client_of.Event("A_SUBMITTED", DATA, [stream], uuid.uuid4()) for _ in range(events)])

        one = rate(count, lambda: [append(1) for _ in range(count)])
        many = threaded(32, count, append)
        batches = rate(50_000, lambda: [append(1_000) for _ in range(50)])
        begun = time.perf_counter()
        seen = sum(1 for _ in client.read())
        reading = seen / (time.perf_counter() - begun)
        return dict(zip(CASES, [one, many, batches, reading], strict=True))
    finally:
        server.terminate()
        server.wait()


def _connected(client_of: object, url: str) -> object:
    for _ in range(100):
        try:
            client = client_of.Client(url)  # type: ignore[attr-defined]
            client.head()
        except Exception:
            time.sleep(0.05)
        else:
            return client
    raise SystemExit("UmaDB's server did not start")


def eventsourcing_postgres(server: str) -> dict[str, str]:
    """The package's settings for this server."""
    parts = urlsplit(server)
    options = parse_qs(parts.query)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": parts.path.lstrip("/") or "postgres",
        "POSTGRES_HOST": options.get("host", [parts.hostname or "127.0.0.1"])[0],
        "POSTGRES_PORT": str(parts.port or 5432),
        "POSTGRES_USER": parts.username or "postgres",
        "POSTGRES_PASSWORD": parts.password or "",
        "POSTGRES_POOL_SIZE": "32",
        "POSTGRES_MAX_OVERFLOW": "8",
    }


def against(ours: Measures, theirs: Measures, name: str) -> list[Comparison]:
    return [Comparison(case, ours[case], theirs[case], name, 1.0) for case in CASES]


def main() -> None:
    with workspace() as name, postgres(Path(name).absolute()) as server, fresh_store(server) as url:
        folder = Path(name).absolute()
        os.environ.pop("PGPASSWORD", None)
        sqlite = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": f"{folder}/peer.db"}
        on_sqlite = headwater(f"sqlite:///{folder}/ours.db", 6_400)
        peer_on_sqlite = eventsourcing(sqlite, 3_200)
        uma = umadb(folder, 3_200)
        on_postgres = headwater(url, 6_400)
        peer_on_postgres = eventsourcing(eventsourcing_postgres(server), 1_600)
    show("Beside eventsourcing on SQLite, events a second", against(on_sqlite, peer_on_sqlite, "eventsourcing"))
    show("Headwater on SQLite beside UmaDB's server, events a second", against(on_sqlite, uma, "UmaDB"))
    show("Beside eventsourcing on PostgreSQL, events a second", against(on_postgres, peer_on_postgres, "eventsourcing"))


if __name__ == "__main__":
    main()
