"""Several processes on one store, and what is left when some are killed without warning (promises 1, 3 and 4)."""

from __future__ import annotations

import asyncio
import itertools
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

import msgspec
import pytest

import headwater
from headwater.events import Event, NewEvent
from headwater.store import EventStore
from headwater.testing.conformance.fixtures import StorePromises, needs, whole_log
from headwater.testing.load import Line

KILLS, WRITER_PROCESSES = 4, 3

_line = msgspec.json.Decoder(Line)


class _Process:
    """A writer process, and what it has said."""

    def __init__(self, url: str, name: str, appends_max: int = 1_000_000) -> None:
        command = [sys.executable, "-m", "headwater.testing.load", url, "--name", name, "--appends", str(appends_max)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._said = self._process.stdout
        self.lines: list[Line] = []

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._said.close()

    async def heard(self, acknowledged: int) -> None:
        """Wait until so many appends were acknowledged."""
        await asyncio.to_thread(self._hear, acknowledged)

    def _hear(self, acknowledged: int) -> None:
        while acknowledged > 0:
            said = self._said.readline()
            if not said.endswith(b"\n"):
                pytest.fail("the writer process ended by itself; see its complaint on standard error")
            self.lines.append(_line.decode(said))
            acknowledged -= self.lines[-1].done

    async def killed(self) -> None:
        """Kill it without warning (SIGKILL), and hear what it had said until then."""
        self._process.kill()
        await asyncio.to_thread(self._last_words)

    async def ended(self) -> None:
        """Wait for its own end."""
        await asyncio.to_thread(self._last_words)
        assert self._process.returncode == 0

    def _last_words(self) -> None:
        self.lines += [_line.decode(each) for each in self._said if each.endswith(b"\n")]
        self._process.wait()


async def _follow(url: str, ended: asyncio.Event) -> list[Event]:
    """What a reader sees who follows the log by position, in a process that nobody kills."""
    seen: list[Event] = []
    async with headwater.connect(url) as store:
        while True:
            last_round = ended.is_set()
            async for event in store.read_all(after=seen[-1].position if seen else 0):
                seen.append(event)
            if last_round:
                return seen
            await store.wait(seen[-1].position if seen else 0, timeout=0.2)
            await asyncio.sleep(0)  # a backend that never waits would not let the test go on


def _assert_sound(log: Sequence[Event], acknowledged: Iterable[Line]) -> None:
    places = {str(event.id): event for event in log}
    assert len(places) == len(log), "an id is stored twice"
    assert all(after.position > before.position for before, after in itertools.pairwise(log))
    for line in acknowledged:
        for stream, ids in line.parts:
            assert all(id in places for id in ids), "an acknowledged event is missing"
            first = places[ids[0]].version
            assert [(places[id].stream, places[id].version) for id in ids] == [
                (stream, first + number) for number in range(len(ids))
            ]
    found = Counter(event.metadata["append"] for event in log)
    promised = {event.metadata["append"]: event.metadata["of"] for event in log}
    assert found == promised, "half an append is stored"
    next_version = Counter[str | None]()
    for event in log:
        next_version[event.stream] += 1
        assert event.version == next_version[event.stream], "a version is missing"


async def _send_again(store: EventStore, lines: Sequence[Line]) -> None:
    """Send what was sent but never acknowledged a second time, as a program would after a crash."""
    done = {id for line in lines if line.done for _, ids in line.parts for id in ids}
    for line in lines:
        for stream, ids in line.parts:
            if not line.done and ids[0] not in done:
                marks = {"append": ids[0], "of": len(ids)}
                await store.append(stream, [NewEvent("A_SUBMITTED", {}, id=id, metadata=marks) for id in ids])
                assert (await store.append(stream, [NewEvent("A_SUBMITTED", {}, id=id) for id in ids])).duplicate


class ProcessPromises(StorePromises):
    """Real processes, killed for real. Only where the backend is durable and shared."""

    async def test_killed_writers(self, store_url: str) -> None:
        """After ``kill -9`` of writers every acknowledged event is there, no half append, and a reader missed none."""
        seed = random.randrange(2**32)
        print(f"seed of the moments of the kills: {seed}")  # shown where the test fails
        chance = random.Random(seed)
        async with headwater.connect(store_url) as store:
            needs(store, "durable", "shared", "atomic_streams")
            ended = asyncio.Event()
            following = asyncio.create_task(_follow(store_url, ended))
            lines: list[Line] = []
            try:
                for number in range(KILLS):
                    with _Process(store_url, f"k{number}") as writer:
                        await writer.heard(acknowledged=chance.randint(1, 150))
                        await writer.killed()
                        lines += writer.lines
                log = await whole_log(store)
                _assert_sound(log, [line for line in lines if line.done])
                await _send_again(store, lines)
            finally:
                ended.set()
            seen, final = await following, await whole_log(store)
            assert [event.id for event in seen] == [event.id for event in final]
            assert final[: len(log)] == log
            tried = {id for line in lines for _, ids in line.parts for id in ids}
            assert Counter(str(event.id) for event in final) == Counter(tried)

    async def test_several_processes(self, store_url: str) -> None:
        """Processes that append at the same time, one of them killed, do each other no harm."""
        async with headwater.connect(store_url) as store:
            needs(store, "durable", "shared", "atomic_streams")
            ended = asyncio.Event()
            following = asyncio.create_task(_follow(store_url, ended))
            try:
                with ExitStack() as running:
                    writers = [
                        running.enter_context(_Process(store_url, f"p{number}", 60 if number else 1_000_000))
                        for number in range(WRITER_PROCESSES)
                    ]
                    await writers[0].heard(acknowledged=60)
                    await writers[0].killed()
                    await asyncio.gather(*(writer.ended() for writer in writers[1:]))
            finally:
                ended.set()
            seen, log = await following, await whole_log(store)
            _assert_sound(log, [line for writer in writers for line in writer.lines if line.done])
            assert [event.id for event in seen] == [event.id for event in log]
