"""Writers of a Marten application and a reader of its log, taken apart: a schedule decides whose step is next.

Time is a number that the schedule moves. A writer that has drawn its number outside of a transaction is *dark* until it
begins: nobody can see that it is there. How long it may stay so is what ``Settled`` counts on.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from headwater.backends.marten.layout import statements_for
from headwater.backends.marten.schema import prepare
from headwater.backends.marten.settled import REPLAY_SECONDS, Settled
from headwater.backends.marten.url import parse
from headwater.backends.postgres.connections import Connections
from tests.services.marten import MartenSchema

GAP = 3.0

INSIDE = ("begin", "draw", "write", "commit")
"""As the functions and statements of the modes Quick do, and every append of ours."""
RICH = ("draw", "begin", "write", "commit")
REPLAYED = ("draw", "begin", "write", "fail", "begin", "write", "fail", "begin", "write", "commit")
"""A transaction of mode Rich that is chosen as a deadlock's victim, twice."""


class World:
    """An application's log, its writers' connections, and the time."""

    def __init__(self, application: MartenSchema, connections: list[psycopg.AsyncConnection[Any]]) -> None:
        self.schema = application.schema
        self._free = connections
        self.now = 0.0
        self.dark: dict[Writer, float] = {}
        """Since when."""

    def take(self) -> psycopg.AsyncConnection[Any]:
        return self._free.pop()

    async def give_back(self, connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.rollback()
        self._free.append(connection)


class Writer:
    """One append of one event, to a stream of its own."""

    def __init__(self, world: World, steps: tuple[str, ...], fails: bool = False) -> None:
        self.world = world
        self.steps = list(steps)
        self.fails = fails
        self.number = 0
        self.committed = False
        self._stream = f"loan-{uuid.uuid4()}"
        self._connection = world.take()

    @property
    def dark_seconds(self) -> float:
        """For how long it may be dark: a little less than what readers wait."""
        return 0.9 * (REPLAY_SECONDS if "fail" in self.steps or (len(self.steps) == 3 and self._failed) else GAP)

    async def step(self) -> None:
        name = self.steps.pop(0)
        run, schema = self._connection.execute, self.world.schema
        match name:
            case "begin":
                await run("BEGIN")
                if self.number:
                    await self._move()
                self.world.dark.pop(self, None)
            case "draw":
                cursor = await run(f"SELECT nextval('{schema}.mt_events_sequence')".encode())
                row = await cursor.fetchone()
                assert row is not None
                self.number = row[0]
                if "begin" in self.steps:
                    self.world.dark[self] = self.world.now
                else:
                    await self._move()
            case "write":
                await run(
                    f"INSERT INTO {schema}.mt_events (seq_id, id, stream_id, version, data, type, timestamp) "
                    "VALUES (%s, gen_random_uuid(), %s, 1, '{}', 'loan_requested', now())".encode(),
                    (self.number, self._stream),
                )
            case "fail":
                await run("ROLLBACK")
                self._failed = True
                self.world.dark[self] = self.world.now
            case _:
                await run("ROLLBACK" if self.fails else "COMMIT")
                self.committed = not self.fails
                await self.world.give_back(self._connection)

    _failed = False

    async def _move(self) -> None:
        await self._connection.execute(
            f"INSERT INTO {self.world.schema}.mt_streams (id, version) VALUES (%s, 1)".encode(), (self._stream,)
        )


class Reader:
    """Follows the log, in two steps: up to where it is settled, and what is there."""

    def __init__(self, settled: Settled, connections: Connections, schema: str) -> None:
        self.settled = settled
        self.seen: list[int] = []
        self._connections = connections
        self._schema = schema
        self._after = self._upto = 0
        self._asked = False

    async def step(self) -> None:
        if not self._asked:
            self._upto = await self.settled.horizon()
        else:
            rows = await self._connections.rows(
                f"SELECT seq_id FROM {self._schema}.mt_events WHERE seq_id > %s AND seq_id <= %s ORDER BY seq_id",
                (self._after, self._upto),
            )
            self.seen += [row[0] for row in rows]
            self._after = self._upto
        self._asked = not self._asked


@asynccontextmanager
async def worlds(application: MartenSchema, kind: type[Settled], gap: float) -> AsyncIterator[tuple[World, Reader]]:
    """A world and its reader, who starts behind what is there."""
    target = parse(f"marten+{application.conninfo}&schema={application.schema}&gap={gap}")
    found = await prepare(target)
    connections = Connections(target.server)
    await connections.open()
    free = [await psycopg.AsyncConnection.connect(application.conninfo, autocommit=True) for _ in range(6)]
    try:
        world = World(application, list(free))
        settled = kind(connections, statements_for(target, found.shape), target, lambda: world.now)
        yield world, Reader(settled, connections, application.schema)
    finally:
        await asyncio.gather(*(connection.close() for connection in free))
        await connections.close()


async def lost(world: World, reader: Reader, ways: list[tuple[str, ...]], dice: random.Random) -> set[int]:
    """Let the writers and the reader make their steps in a random order. Gives what the reader never sees.

    Asserts that it sees nothing twice, in reverse, or that was rolled back.
    """
    before = len(reader.seen)
    writers = [Writer(world, way, fails=dice.random() < 0.2) for way in ways]
    while working := [writer for writer in writers if writer.steps]:
        match dice.choice(("write", "write", "read", "wait")):
            case "write":
                await dice.choice(working).step()
            case "read":
                await reader.step()
            case _:
                await _wait(world, dice.choice((0.1, REPLAY_SECONDS, GAP / 2)))
    committed = {writer.number for writer in writers if writer.committed}
    highest = max(writer.number for writer in writers)
    while reader.settled.known < highest or reader._after < highest:
        await _wait(world, GAP / 2)
        await reader.step()
    seen = reader.seen[before:]
    assert seen == sorted(set(seen))
    assert set(seen) <= committed
    return committed - set(seen)


async def _wait(world: World, seconds: float) -> None:
    """Time passes; whoever would be dark for too long begins before."""
    for writer, since in list(world.dark.items()):
        if world.now + seconds - since >= writer.dark_seconds:
            await writer.step()
    world.now += seconds
