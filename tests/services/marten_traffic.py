"""Traffic on a Marten application's log: several writers, all ways to append, and all ways to fail at it."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from typing import NamedTuple

import psycopg

from headwater.backends.marten.compatible import Options
from tests.services.marten_dotnet import DotNet
from tests.services.marten_events import Appended, Conflict, Missing, NetEvent, approved, disbursed, requested
from tests.services.marten_statements import StreamId

__all__ = ["Acknowledged", "stream_id", "traffic"]

KINDS = (requested, approved, disbursed)
WAYS = ("rich", "rich", "quick", "quick", "locked", "exclusive", "start")


def stream_id(options: Options, name: str) -> StreamId:
    """The id of the stream that a test calls so: the name, or a GUID made of it."""
    return name if options.identity == "string" else uuid.uuid5(uuid.NAMESPACE_URL, name)


class Acknowledged(NamedTuple):
    """An event whose transaction was committed."""

    stream: StreamId
    version: int
    id: uuid.UUID


async def traffic(
    dotnet: DotNet, seconds: float, *, writers: int = 4, shared: int = 3, pause: float = 0.004, seed: int = 0
) -> list[Acknowledged]:
    """A busy day. Gives the events that were acknowledged.

    Writers meet in ``shared`` streams and have some of their own. They pause, up to ``pause`` seconds, between drawing
    a number and committing. Of what they draw in vain, some is filled with tombstones, and some stays a gap.
    """
    ends = time.monotonic() + seconds
    done: list[Acknowledged] = []
    common = [stream_id(dotnet.options, f"loan-shared-{seed}-{nth}") for nth in range(shared)]
    async with asyncio.TaskGroup() as group:
        for nth in range(writers):
            writer = _Writer(dotnet, f"loan-{seed}-{nth}", common, random.Random(f"{seed} {nth}"), pause)
            group.create_task(writer.write_until(ends, done))
    return done


class _Writer:
    def __init__(self, dotnet: DotNet, name: str, common: list[StreamId], dice: random.Random, pause: float) -> None:
        self._dotnet = dotnet
        self._name = name
        self._streams = list(common)
        self._versions: dict[StreamId, int] = {}
        self._dice = dice
        self._pause = pause

    async def write_until(self, ends: float, done: list[Acknowledged]) -> None:
        while time.monotonic() < ends:
            stream, events, commit = self._a_stream(), self._some_events(), self._dice.random() > 0.1
            try:
                appended = await self._append(stream, events, commit)
            except Conflict as conflict:
                self._versions.pop(stream, None)
                await self._perhaps_fill(conflict.lost)
                continue
            except (Missing, psycopg.errors.DeadlockDetected):  # mode Rich moves the stream first, Quick moves it last
                continue
            if commit:
                self._versions[stream] = appended.version
                first = appended.version - len(events) + 1
                done.extend(Acknowledged(stream, first + nth, event.id) for nth, event in enumerate(events))
            else:
                await self._perhaps_fill(appended.numbers)

    async def _append(self, stream: StreamId, events: list[NetEvent], commit: bool) -> Appended:
        expected = self._versions.get(stream) if self._dice.random() < 0.5 else None
        match self._dice.choice(WAYS):
            case "rich":
                return await self._dotnet.rich_append(stream, events, expected, at=self._wait, commit=commit)
            case "exclusive":
                return await self._dotnet.exclusive_append(stream, events, at=self._wait, commit=commit)
            case "locked":
                return await self._dotnet.quick_append(stream, events, lock=True, at=self._wait, commit=commit)
            case "start":
                return await self._dotnet.start_stream_quick(stream, events, at=self._wait, commit=commit)
            case _:
                return await self._dotnet.quick_append(stream, events, expected, at=self._wait, commit=commit)

    def _a_stream(self) -> StreamId:
        if self._dice.random() < 0.2:
            self._streams.append(stream_id(self._dotnet.options, f"{self._name}-{len(self._streams)}"))
            return self._streams[-1]
        return self._dice.choice(self._streams)

    def _some_events(self) -> list[NetEvent]:
        return [self._dice.choice(KINDS)() for _ in range(self._dice.randint(1, 3))]

    async def _wait(self, step: str) -> None:
        if step in ("drawn", "inserted", "commit") and self._dice.random() < 0.5:
            await asyncio.sleep(self._dice.random() * self._pause)

    async def _perhaps_fill(self, numbers: tuple[int, ...]) -> None:
        if numbers and self._dice.random() < 0.5:
            await self._dotnet.tombstone(numbers)
