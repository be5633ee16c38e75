"""Delivery: how long an event takes from its append to a handler, how fast a reader catches up."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import headwater as hw
from measuring import Comparison, alternate, loan_event, show, workspace
from servers import fresh_store, postgres

EVENTS = 300_000
IDLE_APPENDS, IDLE_PAUSE = 300, 0.01
LOAD_WRITERS, LOAD_SECONDS = 16, 5.0


async def fill(url: str) -> None:
    """Events of many streams, to catch up with."""
    async with hw.connect(url) as store:
        for number in range(EVENTS // 1_000):
            await store.append(f"loan-{number}", [loan_event() for _ in range(1_000)])


async def delays(url: str, load: Callable[[hw.EventStore, list[float]], Awaitable[None]]) -> list[float]:
    """Milliseconds from just before each append to its handler, sorted."""
    taken: list[float] = []

    async def handler(event: hw.Event) -> None:
        taken.append((time.time_ns() // 1_000 - (event.occurred_us or 0)) / 1_000)

    async with hw.connect(url) as store:
        consumer = store.consumer(f"latency-{time.time_ns()}", handler, start=hw.NOW)
        async with consumer:
            await consumer.wait_for(await store.append("loan-0", stamped()))
            taken.clear()
            await load(store, taken)
            await consumer.wait_for(await store.head())
    return sorted(taken)


def stamped() -> hw.NewEvent:
    """An event that says when it was about to be appended."""
    return hw.NewEvent("A_SUBMITTED", {"case": "173688"}, occurred_at=datetime.now(UTC))


async def idle(store: hw.EventStore, taken: list[float]) -> None:
    """One append at a time, with pauses, so that the consumer sleeps before each."""
    for number in range(IDLE_APPENDS):
        await store.append(f"loan-{number % 50}", stamped())
        await asyncio.sleep(IDLE_PAUSE)


async def loaded(store: hw.EventStore, taken: list[float]) -> None:
    """Many writers, each at its next append as soon as the last one is stored."""
    end = time.monotonic() + LOAD_SECONDS

    async def writer(number: int) -> None:
        while time.monotonic() < end:
            await store.append(f"loan-{number}", stamped())

    await asyncio.gather(*[writer(number) for number in range(LOAD_WRITERS)])


def show_delays(name: str, url: str) -> list[str]:
    """Rows of the table of delays."""
    rows = []
    for case, load, goals in (("idle", idle, True), (f"{LOAD_WRITERS} writers", loaded, False)):
        taken = asyncio.run(delays(url, load))
        middle, late = statistics.median(taken), taken[int(len(taken) * 0.99)]
        wanted = f"p50 < {3 if name == 'SQLite' else 10}, p99 < 50" if goals else "p99 < 50"
        kept = late < 50 and (not goals or middle < (3 if name == "SQLite" else 10))
        rows.append(
            f"| {name}, {case} | {len(taken):,} | {middle:.1f} | {late:.1f} | {wanted} | {'yes' if kept else 'no'} |"
        )
    return rows


def reading(url: str, pick: Callable[[hw.EventStore], object]) -> float:
    """Events a second through an iterator of the store, up to all there are."""

    async def main() -> float:
        async with hw.connect(url) as store:
            start, count = time.perf_counter(), 0
            async for _ in pick(store):  # type: ignore[attr-defined]
                count += 1
                if count == EVENTS:
                    break
            return count / (time.perf_counter() - start)

    return asyncio.run(main())


def consuming(url: str, *, batch: int | None) -> float:
    """Events a second into a handler that does nothing, checkpoints included."""

    async def each(event: hw.Event) -> None:
        pass

    async def many(events: list[hw.Event]) -> None:
        pass

    async def main() -> float:
        async with hw.connect(url) as store:
            consumer = store.consumer(f"rate-{time.time_ns()}", many if batch else each, batch=batch)
            start = time.perf_counter()
            async with consumer:
                await consumer.wait_for(await store.head())
            return EVENTS / (time.perf_counter() - start)

    return asyncio.run(main())


def main() -> None:
    with workspace() as name, postgres(Path(name).absolute()) as server:
        folder = Path(name).absolute()
        with fresh_store(server) as delayed, fresh_store(server) as filled:
            rows = show_delays("SQLite", f"sqlite:///{folder}/delays.db") + show_delays("PostgreSQL", delayed)
            print("## From an append to a handler, milliseconds\n")
            print("| case | events | p50 | p99 | wanted | kept |\n|---|---:|---:|---:|---|---|")
            print("\n".join(rows) + "\n")
            comparisons = []
            for home, url in (("SQLite", f"sqlite:///{folder}/log.db"), ("PostgreSQL", filled)):
                asyncio.run(fill(url))
                plain, subscribed, single, batched = alternate(
                    3,
                    lambda url=url: reading(url, lambda store: store.read_all()),
                    lambda url=url: reading(url, lambda store: store.subscribe()),
                    lambda url=url: consuming(url, batch=None),
                    lambda url=url: consuming(url, batch=1_000),
                )
                against = "read_all"
                comparisons += [
                    Comparison(f"{home}, subscription", subscribed, plain, against, at_least=0.7),
                    Comparison(f"{home}, consumer, single events", single, plain, against, at_least=0.7),
                    Comparison(f"{home}, consumer, batches of 1,000", batched, plain, against, at_least=0.7),
                ]
            show("Catching up, events a second", comparisons)


if __name__ == "__main__":
    main()
