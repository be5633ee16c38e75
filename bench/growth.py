"""What a single append costs at 10,000,000 events, against the same at 100,000. Takes minutes, and 10 GB of disk."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import headwater as hw
from measuring import Comparison, loan_event, show, workspace
from servers import fresh_store, postgres

SMALL, LARGE = 100_000, 10_000_000


async def fill(store: hw.EventStore, have: int, until: int) -> None:
    """Events in streams of ten, so that streams and their index grow with the log."""
    for first in range(have, until, 2_000):
        appends = [
            hw.Append(f"loan-{number}", [loan_event(f"applicant:{number}") for _ in range(10)])
            for number in range(first // 10, first // 10 + 200)
        ]
        await store.append_all(appends)


async def microseconds(store: hw.EventStore, streams: int, count: int = 3_000) -> float:
    """One append by one writer, to streams all over the log."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number in range(count):
        await store.append(f"loan-{number * 7919 % streams}", [loan_event(f"applicant:{number * 7919 % streams}")])
    return (loop.time() - start) / count * 1e6


async def measure(url: str, large: int) -> tuple[float, float]:
    async with hw.connect(url) as store:
        await fill(store, 0, SMALL)
        await microseconds(store, SMALL // 10)
        small = min([await microseconds(store, SMALL // 10) for _ in range(3)])
        await fill(store, SMALL, large)
        await microseconds(store, large // 10)
        return min([await microseconds(store, large // 10) for _ in range(3)]), small


def main() -> None:
    large = int(sys.argv[1]) if sys.argv[1:] and sys.argv[1].isdigit() else LARGE
    with workspace() as name, postgres(Path(name).absolute()) as server, fresh_store(server) as postgres_url:
        comparisons = []
        for backend, url in (("SQLite", f"sqlite:///{Path(name).absolute()}/log.db"), ("PostgreSQL", postgres_url)):
            at_large, at_small = asyncio.run(measure(url, large))
            comparisons.append(Comparison(backend, at_large, at_small, f"at {SMALL:,} events", at_most=1.3))
    show(f"One append at {large:,} events, microseconds", comparisons)


if __name__ == "__main__":
    main()
