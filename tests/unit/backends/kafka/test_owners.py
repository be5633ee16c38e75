"""One owner at a time: killed, frozen, replaced. Nothing is lost, nothing doubled, and versions have no holes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import headwater as hw
from headwater.backends.kafka import owner
from headwater.errors import NotOwner
from headwater.testing.load import Line
from headwater.testing.loans import CASE, loan


class Owner:
    """A process of ``owning``."""

    def __init__(self, url: str, moment: str) -> None:
        program = Path(__file__).with_name("owning.py")
        self.process = subprocess.Popen(
            [sys.executable, program, url, moment], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def tell(self) -> None:
        """Let it append."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    async def heard(self) -> str:
        """Its next line; '' where it is dead."""
        assert self.process.stdout is not None
        return (await asyncio.to_thread(self.process.stdout.readline)).strip()


@contextlib.contextmanager
def owning(url: str, moment: str = "nothing") -> Iterator[Owner]:
    owner = Owner(url, moment)
    try:
        yield owner
    finally:
        owner.process.kill()
        owner.process.communicate()


@pytest.fixture
def elsewhere(kafka_store_url: str) -> str:
    """The same store as another process sees it: with an index of its own."""
    return kafka_store_url.partition("?")[0] + "?takeover=yes"


async def versions(store: hw.EventStore, stream: str = CASE) -> list[int]:
    return [event.version async for event in store.read(stream)]


async def test_killed_before_its_commit(kafka_store_url: str, elsewhere: str) -> None:
    """What an owner had sent and not committed is nowhere, in its own index neither."""
    with owning(kafka_store_url, "killed before commit") as owner:
        assert await owner.heard() == "ready"
        owner.tell()
        assert await owner.heard() == ""
    async with hw.connect(elsewhere) as store:
        assert await versions(store) == [1]
        assert (await store.append(CASE, loan(2, skip=1), expected=1)).position == 3
    async with hw.connect(kafka_store_url) as store:
        assert await versions(store) == [1, 2, 3]
        await store.append(CASE, loan(1, skip=3), expected=3)


async def test_killed_after_its_commit(kafka_store_url: str) -> None:
    """What Kafka has committed, and the index of a dead owner has not, is read from the topic; a retry finds it."""
    with owning(kafka_store_url, "killed after commit") as owner:
        assert await owner.heard() == "ready"
        owner.tell()
        assert await owner.heard() == ""
    async with hw.connect(kafka_store_url) as store:
        events = [event async for event in store.read(CASE)]
        assert [event.version for event in events] == [1, 2]
        again = hw.NewEvent(events[1].type, events[1].data, id=events[1].id)
        retried = await store.append(CASE, again, expected=1)
        assert (retried.duplicate, retried.version) == (True, 2)


async def test_frozen_in_its_transaction(kafka_store_url: str, elsewhere: str) -> None:
    """An owner that sleeps before its commit wakes up to find its work refused, and itself replaced."""
    with owning(kafka_store_url, "stopped before commit") as owner:
        assert await owner.heard() == "ready"
        owner.tell()
        async with hw.connect(elsewhere) as store:
            await stopped(owner)
            assert (await store.append(CASE, loan(1, skip=1), expected=1)).version == 2
            owner.process.send_signal(signal.SIGCONT)
            assert await owner.heard() == "NotOwner"
            assert await versions(store) == [1, 2]
            await store.append(CASE, loan(1, skip=2), expected=2)
            assert [event.position async for event in store.read_all()] == [1, 2, 3]


async def test_frozen_between_its_transactions(kafka_store_url: str, elsewhere: str) -> None:
    """So does one that slept while another took over. It has seen what that one did when it is asked to."""
    with owning(kafka_store_url) as owner:
        assert await owner.heard() == "ready"
        owner.process.send_signal(signal.SIGSTOP)
        async with hw.connect(elsewhere) as store:
            assert (await store.append(CASE, loan(1, skip=1), expected=1)).version == 2
            owner.process.send_signal(signal.SIGCONT)
            owner.tell()
            assert await owner.heard() == "NotOwner"
        owner.tell()  # the other has let go
        assert await owner.heard() == "3"


async def stopped(owner: Owner) -> None:
    """Wait until the process sleeps."""
    status = Path(f"/proc/{owner.process.pid}/status")
    while "State:\tT" not in status.read_text():
        await asyncio.sleep(0.01)


async def test_who_owns_it(kafka_store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the owner lives, others read along, and are told who appends. One that closes lets the next in at once."""
    monkeypatch.setattr(owner, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(owner, "LEASE_SECONDS", 0.5)
    bare = kafka_store_url.partition("?")[0]
    async with hw.connect(kafka_store_url + "&address=http://one:2113") as one, hw.connect(bare) as two:
        position = (await one.append(CASE, loan(1))).position
        assert await two.wait(position - 1, timeout=10)
        assert await versions(two) == [1]
        await asyncio.sleep(1)  # with nothing to append, it gives signs of life
        with pytest.raises(NotOwner, match="http://one:2113") as refused:
            await two.append(CASE, loan(1, skip=1))
        assert refused.value.owner == "http://one:2113"
        assert refused.value.seconds <= 0.5
        await one.close()
        await two.append(CASE, loan(1, skip=1), expected=1)


async def test_a_silent_owner_is_replaced(kafka_store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner that nothing is heard of any more is replaced after a while, without anybody's doing."""
    monkeypatch.setattr(owner, "LEASE_SECONDS", 1.5)
    with owning(kafka_store_url) as first:
        assert await first.heard() == "ready"
        async with hw.connect(kafka_store_url.partition("?")[0]) as store:
            with pytest.raises(NotOwner):
                await store.append(CASE, loan(1, skip=1))
            first.process.kill()
            while True:
                try:
                    await store.append(CASE, loan(1, skip=1))
                    break
                except NotOwner:
                    await asyncio.sleep(0.1)
            assert await versions(store) == [1, 2]


@pytest.mark.parametrize("seed", range(5))
async def test_owners_in_turn(kafka_store_url: str, elsewhere: str, tmp_path: Path, seed: int) -> None:
    """Three that take the store from each other, at random, one losing its index: one history, as it was told."""
    choose = random.Random(seed)
    urls = [kafka_store_url + "&takeover=yes", f"{elsewhere}&index={tmp_path}/other.db", elsewhere]
    version = 0
    stores = [await hw.connect(url) for url in urls]
    for _ in range(25):
        which = choose.randrange(3)
        if choose.random() < 0.2:
            await stores[which].close()
            if which == 1 and choose.random() < 0.5:
                for file in tmp_path.glob("other.db*"):
                    file.unlink()
            stores[which] = await hw.connect(urls[which])
        count = choose.randint(1, 3)
        events = [hw.NewEvent("NoteTaken", {"number": version + number}) for number in range(1, count + 1)]
        for _ in range(2):
            try:
                version = (await stores[which].append(CASE, events, expected=version)).version
                break
            except NotOwner:  # it learns now that it was replaced, and takes it back
                continue
        else:
            pytest.fail("never became the owner")
    for store in stores:
        await store.wait(version - 1, timeout=10)
        log = [event async for event in store.read_all()]
        assert [(event.position, event.data["number"]) for event in log] == [(n, n) for n in range(1, version + 1)]
        await store.close()


async def test_writers_killed_at_any_moment(kafka_store_url: str, elsewhere: str) -> None:
    """After ``kill -9`` of owners under load, everything acknowledged is there, and no half append."""
    choose = random.Random()
    lines: list[Line] = []
    for number in range(4):
        command = [sys.executable, "-m", "headwater.testing.load", elsewhere, "--name", f"k{number}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(choose.randint(2, 150)):
                lines.append(msgspec.json.decode(await asyncio.to_thread(writer.stdout.readline), type=Line))
            writer.kill()
            lines += [msgspec.json.decode(line, type=Line) for line in writer.stdout if line.endswith(b"\n")]
    async with hw.connect(f"{kafka_store_url}&takeover=yes") as store:
        await store.append("loan-after", loan(1))  # as the owner, it has all
        log = [event async for event in store.read_all()]
    assert [event.position for event in log] == list(range(1, len(log) + 1))
    stored = {str(event.id): event for event in log}
    assert len(stored) == len(log)
    for line in lines:
        there = [id in stored for _, ids in line.parts for id in ids]
        assert all(there) if line.done else all(there) or not any(there)
    ends: dict[str, int] = {}
    for event in log:
        assert event.stream is not None
        ends[event.stream] = ends.get(event.stream, 0) + 1
        assert event.version == ends[event.stream]
