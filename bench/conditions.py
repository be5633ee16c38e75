"""Appends with a condition (one tag, two types) against the same appends without, in a store of 1,000,000 events."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path

import headwater as hw
from measuring import Comparison, alternate, loan_event, show, workspace
from servers import fresh_store, postgres

EVENTS = 1_000_000
APPLICANTS = 100_000


async def fill(url: str) -> None:
    """A million events of three types over 100,000 applicants: each tag stands on ten events."""
    kinds = ("A_SUBMITTED", "A_ACCEPTED", "A_DECLINED")
    async with hw.connect(url) as store:
        for first in range(0, EVENTS, 1_000):
            events = [
                loan_event(f"applicant:{number % APPLICANTS}", type=kinds[number % 3])
                for number in range(first, first + 1_000)
            ]
            await store.append(f"loan-{first}", events)


def appends(url: str, *, conditional: bool, count: int = 1_000) -> float:
    """Single-event appends a second by one writer, each for another applicant."""

    async def main() -> float:
        async with hw.connect(url) as store:
            after = await store.head()
            loop = asyncio.get_running_loop()
            start = loop.time()
            for number in range(count):
                tag = f"applicant:{number * 97 % APPLICANTS}"
                query = hw.Query([hw.QueryItem(types=["A_ACCEPTED", "A_DECLINED"], tags=[tag])])
                condition = hw.AppendCondition(query, after) if conditional else None
                await store.append(f"loan-{after}-{number}", [loan_event(tag)], condition=condition)
            return count / (loop.time() - start)

    return asyncio.run(main())


def main() -> None:
    with workspace() as name, postgres(Path(name).absolute()) as server, fresh_store(server) as postgres_url:
        comparisons = []
        for backend, url in (("SQLite", f"sqlite:///{Path(name).absolute()}/log.db"), ("PostgreSQL", postgres_url)):
            asyncio.run(fill(url))
            conditional = functools.partial(appends, url, conditional=True)
            plain = functools.partial(appends, url, conditional=False)
            with_condition, without = alternate(5, conditional, plain)
            comparisons.append(Comparison(backend, with_condition, without, "the same without a condition", 0.5))
    show("Conditional appends at 1,000,000 events, appends a second", comparisons)


if __name__ == "__main__":
    main()
