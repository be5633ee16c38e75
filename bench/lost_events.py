"""The published demonstration: how many events a reader loses with the usual scheme on PostgreSQL, and with ours.

The usual scheme: ``position bigserial``, and a reader that polls ``where position > last``. Positions are drawn before
the commit, so a later position can be visible first; the reader moves on, and never sees the earlier one. Both stores
get the same load: 16 writers, some of which stall or roll back between drawing a position and committing.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

import headwater as hw
from measuring import LOAN, workspace
from servers import fresh_store, postgres

WRITERS = 16
SECONDS = 10.0


async def interfere(connection: psycopg.AsyncConnection, chance: random.Random) -> bool:
    """What happens between an insert and its commit in real life: nothing, a pause, or a failure. True: roll back."""
    if chance.random() < 0.2:
        await asyncio.sleep(chance.random() * 0.005)
    return chance.random() < 0.05


async def naive(server: str, seconds: float) -> tuple[int, int, int]:
    """Events committed, events the reader saw, events it saw out of order."""
    async with await psycopg.AsyncConnection.connect(server, autocommit=True) as reader:
        await reader.execute("drop table if exists naive_events")
        await reader.execute("create table naive_events (position bigserial primary key, stream text, data jsonb)")
        committed: set[int] = set()
        seen: list[int] = []
        done, all_written = asyncio.Event(), asyncio.Event()

        async def write(number: int) -> None:
            chance = random.Random(number)
            async with await psycopg.AsyncConnection.connect(server) as connection:
                while not done.is_set():
                    cursor = await connection.execute(
                        "insert into naive_events (stream, data) values (%s, %s) returning position",
                        (f"loan-{number}", Jsonb(LOAN)),
                    )
                    row = await cursor.fetchone()
                    if await interfere(connection, chance):
                        await connection.rollback()
                    else:
                        await connection.commit()
                        committed.add(row[0])

        async def read() -> None:
            last = 0
            while True:
                finished = all_written.is_set()
                cursor = await reader.execute(
                    "select position from naive_events where position > %s order by position limit 1000", (last,)
                )
                positions = [row[0] for row in await cursor.fetchall()]
                seen.extend(positions)
                last = positions[-1] if positions else last
                if finished and not positions:
                    return

        writers = [asyncio.create_task(write(number)) for number in range(WRITERS)]
        reading = asyncio.create_task(read())
        await asyncio.sleep(seconds)
        done.set()
        await asyncio.gather(*writers)
        all_written.set()
        await reading
        await reader.execute("drop table naive_events")
        return len(committed), len(committed & set(seen)), reversals(seen)


async def headwater(url: str, server: str, seconds: float) -> tuple[int, int, int]:
    """The same load through ``store.bind`` in the writers' own transactions, read with ``read_all``."""
    async with hw.connect(url) as store:
        committed: set[bytes] = set()
        seen: list[hw.Event] = []
        done, all_written = asyncio.Event(), asyncio.Event()

        async def write(number: int) -> None:
            chance = random.Random(number)
            async with await psycopg.AsyncConnection.connect(server) as connection:
                while not done.is_set():
                    event = hw.NewEvent("A_SUBMITTED", LOAN)
                    async with connection.transaction(force_rollback=False) as transaction:
                        await store.bind(connection).append(f"loan-{number}", [event])
                        if await interfere(connection, chance):
                            raise psycopg.Rollback(transaction)
                        committed.add(event.id.bytes)
                    await connection.commit()

        async def read() -> None:
            last = 0
            while True:
                finished = all_written.is_set()
                page = [event async for event in store.read_all(after=last)]
                seen.extend(page)
                last = page[-1].position if page else last
                if finished and not page:
                    return

        writers = [asyncio.create_task(write(number)) for number in range(WRITERS)]
        reading = asyncio.create_task(read())
        await asyncio.sleep(seconds)
        done.set()
        await asyncio.gather(*writers)
        all_written.set()
        await reading
        delivered = committed & {event.raw_id for event in seen}
        return len(committed), len(delivered), reversals([event.position for event in seen])


def reversals(positions: list[int]) -> int:
    """How often a position is not higher than the one before."""
    return sum(later <= earlier for earlier, later in itertools.pairwise(positions))


def main() -> None:
    seconds = float(sys.argv[1]) if sys.argv[1:] else SECONDS
    with workspace() as name, postgres(Path(name).absolute()) as server, fresh_store(server) as url:
        rows = [
            ("bigserial, position > last", asyncio.run(naive(server, seconds))),
            ("Headwater", asyncio.run(headwater(url, server, seconds))),
        ]
    print(f"\n## Lost events: {WRITERS} writers for {seconds:g} s, with stalls and rollbacks, and one reader\n")
    print("| scheme | committed | delivered | lost | reversed |\n|---|---:|---:|---:|---:|")
    for scheme, (committed, delivered, backwards) in rows:
        print(f"| {scheme} | {committed:,} | {delivered:,} | {committed - delivered:,} | {backwards:,} |")


if __name__ == "__main__":
    main()
