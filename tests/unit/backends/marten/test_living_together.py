"""A busy day of a .NET application, and of ours beside it: nobody loses, doubles or reverses anything."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from collections import Counter

import pytest
from tests.services.marten import MakeSchema, MartenSchema
from tests.services.marten_traffic import traffic

import headwater as hw
from headwater.events import Event
from headwater.queries import Query, QueryItem
from headwater.testing.conformance.fixtures import whole_log

SECONDS = 4.0


async def _follow(store: hw.EventStore, seen: list[Event]) -> None:
    async for event in store.subscribe():
        seen.append(event)


async def _append(store: hw.EventStore, stream: str, done: list[str], ends: float) -> None:
    """Events into a stream that .NET writes to as well, in turns with a condition."""
    while asyncio.get_running_loop().time() < ends:
        event = hw.NewEvent("NoteTaken", {"text_of_note": "seen"}, tags=["branch:delft"])
        condition = None
        if len(done) % 5 == 4:
            condition = hw.AppendCondition(Query([QueryItem(types=["NeverHappened"])]))
        await store.append(stream, [event], condition=condition)
        done.append(str(event.id))


async def _killed(url: str) -> None:
    """A process of ours that appends, and is killed without warning."""
    command = [sys.executable, "-m", "headwater.testing.load", url, "--name", "killed"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(60):
            await asyncio.to_thread(process.stdout.readline)
        process.kill()


@pytest.mark.parametrize("version", [8, 9])
async def test_a_busy_day(marten_schema: MakeSchema, version: int) -> None:
    """Rich and quick appends, conflicts, roll backs, tombstones and gaps there; appends, conditions and a killed
    process here; and two who follow, one of them from another process's point of view."""
    application: MartenSchema = marten_schema(identity="string", version=version)
    url = application.url(gap="0.5")
    seen: list[Event] = []
    other: list[Event] = []
    done: list[str] = []
    async with application.dotnet() as dotnet, hw.connect(url) as store, hw.connect(url) as second:
        following = [asyncio.create_task(_follow(store, seen)), asyncio.create_task(_follow(second, other))]
        ends = asyncio.get_running_loop().time() + SECONDS
        theirs, *_ = await asyncio.gather(
            traffic(dotnet, SECONDS, seed=version),
            _append(store, f"loan-shared-{version}-0", done, ends),
            _append(second, "note-1", done, ends),
            _killed(url),
        )
        async with asyncio.timeout(20):  # the last gaps are passed
            while await store.head() < store_end(await whole_log(second), theirs, done) or len(seen) < len(other):
                await asyncio.sleep(0.1)
        log = await whole_log(store)
        async with asyncio.timeout(20):
            while len(seen) < len(log) or len(other) < len(log):
                await asyncio.sleep(0.05)
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        assert [event.id for event in seen] == [event.id for event in other] == [event.id for event in log]
        found = {(event.stream, event.version, event.id) for event in log}
        assert {(each.stream, each.version, each.id) for each in theirs} <= found
        assert set(done) <= {str(event.id) for event in log}
        assert all(after.position > before.position for before, after in itertools.pairwise(log))
        _assert_no_version_missing(log)
        assert len(theirs) > 20
        assert len(done) > 20
        assert "wrong" not in {each.state for each in await store.examine() if each.subject == "horizon"}


def store_end(log: list[Event], theirs: list[object], done: list[str]) -> int:
    """Where the log ends, once it shows everything that was acknowledged; else beyond it."""
    shown = {str(event.id) for event in log}
    wanted = {str(each.id) for each in theirs} | set(done)  # type: ignore[attr-defined]
    return log[-1].position if wanted <= shown else 2**62


def _assert_no_version_missing(log: list[Event]) -> None:
    versions = Counter[str | None]()
    for event in log:
        versions[event.stream] += 1
        assert event.version == versions[event.stream]
