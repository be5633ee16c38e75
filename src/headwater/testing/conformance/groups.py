"""Groups: members share a consumer's parts. Whatever becomes of them, keys keep their order and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from headwater.backend import RecordChange
from headwater.errors import InvalidConsumer, StaleRecord
from headwater.events import Event, NewEvent
from headwater.projections import Projector
from headwater.projections.targets import open_target
from headwater.store import EventStore
from headwater.subscriptions import PartitionBy
from headwater.subscriptions.partitions import part_of
from headwater.subscriptions.states import PartState, encoded, part_name
from headwater.testing.conformance.fixtures import StorePromises, needs, whole_log
from headwater.testing.consuming import OFTEN, RollBack, Seen, busy, patience
from headwater.testing.following import Effects, Place
from headwater.testing.loans import loan

PARTS = 4
LEASE = 0.5
HARM_SECONDS = 4.0


class _Members:
    """Processes of one group, to which things happen."""

    def __init__(self, said: Path, *arguments: str) -> None:
        self._said = said.open("ab")  # by all of them, line by line in the order in which they wrote
        self._command = [sys.executable, "-m", "headwater.testing.following", *arguments]
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> _Members:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._said.close()

    def add(self) -> None:
        """One member more."""
        self._processes.append(subprocess.Popen(self._command, stdout=self._said))

    def kill(self) -> None:
        """Kill one without warning, and start another."""
        process = self._processes.pop(random.randrange(len(self._processes)))
        process.kill()
        process.wait()
        self.add()

    async def freeze(self) -> None:
        """Stop one for longer than its lease, and let it go on as if nothing had been."""
        process = random.choice(self._processes)
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(LEASE * random.uniform(1.2, 2.0))
        finally:
            process.send_signal(signal.SIGCONT)

    def assert_alive(self) -> None:
        """Nobody has ended by himself."""
        assert all(process.poll() is None for process in self._processes), "a member ended by itself; see its complaint"


class _ByPart:
    """A sink that keeps the events of each part."""

    def __init__(self) -> None:
        self.parts: dict[int, list[Event]] = {}

    async def start(self, part: int, position: int) -> int:
        """The consumer's checkpoint holds."""
        return position

    async def handle(self, part: int, events: Sequence[Event]) -> None:
        """Keep them."""
        self.parts.setdefault(part, []).extend(events)


async def _harm(members: _Members) -> None:
    """Kill, freeze and add members at random, for some seconds."""
    for _ in range(PARTS):
        members.add()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HARM_SECONDS):
            while True:
                await asyncio.sleep(random.uniform(0.2, 0.6))
                members.assert_alive()
                if random.random() < 0.5:
                    members.kill()
                else:
                    await members.freeze()
    members.add()


async def shared(store: EventStore, name: str, wanted: list[int]) -> None:
    """Wait until so many parts are held by each member, whoever that is."""
    held: Counter[str] = Counter()
    async with patience():
        while sorted(held.values()) != wanted:
            await asyncio.sleep(0.02)
            held = Counter(state.owner for state in (await store.consumers.parts(name)).values() if state.owner)


class GroupPromises(StorePromises):
    """Several members of one consumer."""

    @pytest.fixture(autouse=True)
    def _keeps_records(self, request: pytest.FixtureRequest) -> None:
        if "live" in request.fixturenames:
            needs(request.getfixturevalue("live"), "records")

    async def test_members_share(self, live: EventStore) -> None:
        """Members share the parts fairly, take over from one that leaves, and make room for one that comes."""
        done, seen = asyncio.Event(), [Seen() for _ in range(3)]
        writing = [asyncio.create_task(busy(live, number, done)) for number in range(4)]
        members = [live.consumer("share", each, partitions=PARTS, lease=LEASE, checkpoint=OFTEN) for each in seen]
        async with members[0]:
            await shared(live, "share", [4])
            async with members[1]:
                await shared(live, "share", [2, 2])
                async with members[2]:
                    await shared(live, "share", [1, 1, 2])
                await shared(live, "share", [2, 2])
            await shared(live, "share", [4])
            done.set()
            await asyncio.gather(*writing)
            await members[0].wait_for(await live.head())
        log = await whole_log(live)
        handled = Counter(position for each in seen for position in each.positions)
        assert handled == Counter(event.position for event in log), "each event once: nobody died"
        assert (await live.audit("share")).well

    async def test_partitioning(self, live: EventStore) -> None:
        """Events of one key are in one part, and keep their order there, by whatever the key is made."""
        for number in range(60):
            tags = [f"applicant:{number % 7}"]
            await live.append(
                f"{'loan' if number % 2 else 'offer'}-{number % 9}", NewEvent("A_SUBMITTED", {}, tags=tags)
            )
        keys: dict[str, tuple[PartitionBy, Callable[[Event], str]]] = {
            "stream": ("stream", lambda event: event.stream or ""),
            "category": ("category", lambda event: event.category or ""),
            "tag": ("tag:applicant", lambda event: event.tags[0]),
            "function": (_by_last_digit, _by_last_digit),
        }
        log = await whole_log(live)
        for name, (partition_by, key_of) in keys.items():
            sink = _ByPart()
            consumer = live.consumer(name, sink, partitions=PARTS, partition_by=partition_by)
            async with consumer:
                await consumer.wait_for(await live.head())
            assert sink.parts == {
                number: share
                for number in range(PARTS)
                if (share := [event for event in log if part_of(key_of(event), PARTS) == number])
            }
            assert (await live.audit(name, partition_by=partition_by)).well

    async def test_another_consumer_of_the_name(self, live: EventStore) -> None:
        """A member that would deal the events otherwise is refused, and so is a key that is no text."""
        async with live.consumer("same", Seen(), partitions=PARTS):
            await shared(live, "same", [PARTS])
            for other in (
                live.consumer("same", Seen(), partitions=2),
                live.consumer("same", Seen(), partitions=PARTS, partition_by="category"),
                live.reactor("same", lambda event, reaction: None, partitions=PARTS),
            ):
                with pytest.raises(InvalidConsumer, match="was made with"):
                    await other.run()
        await live.append("loan-1", loan(1))
        with pytest.raises(InvalidConsumer, match="position"):
            await live.consumer("odd", Seen(), partitions=2, partition_by=lambda event: event.version).run()  # type: ignore[arg-type, return-value]

    async def test_fenced_member(self, live: EventStore) -> None:
        """A member whose part was taken over can't write its checkpoint; it lets the part go, and nothing is lost."""
        seen, going = Seen(), asyncio.Event()

        async def stuck(event: Event) -> None:
            await going.wait()

        await live.append("loan-1", loan(20))
        first = live.consumer("fenced", stuck, lease=LEASE, checkpoint=OFTEN)
        async with first:
            await shared(live, "fenced", [1])
            (record,) = await live._backend.load_records(part_name("fenced", 0))
            state = msgspec.json.decode(record.value, type=PartState)
            taken = msgspec.structs.replace(state, owner="another", lease_us=int(4 * LEASE * 1e6))
            while True:  # as another member does it, once the lease has run out
                try:
                    await live._backend.save_records([RecordChange(record.name, encoded(taken), record.revision)])
                    break
                except StaleRecord:
                    (record,) = await live._backend.load_records(record.name)
            going.set()
            await asyncio.sleep(LEASE)  # it has handled all, and knows by now that it may not say so
            held = (await live.consumers.parts("fenced"))[0]
            assert (held.owner, held.progress) == ("another", state.progress)
            await _until(live, lambda states: states[0].owner not in ("", "another"))
            await first.wait_for(await live.head())
        audit = await live.audit("fenced")
        assert (audit.well, audit.delivered) == (True, 20)
        async with live.consumer("fenced", seen, lease=LEASE) as second:
            await live.append("loan-1", loan(1))
            await second.wait_for(await live.head())
        assert len(seen.events) == 1

    async def test_group_of_processes(
        self, store_url: str, live: EventStore, tmp_path: Path, roll_back: RollBack | None
    ) -> None:
        """Members killed, frozen past their lease and added while 16 writers append: each event has its effect once in
        the SQL target, streams keep their order, and the account is well."""
        needs(live, "durable", "shared")
        into = f"sqlite:///{tmp_path}/effects.db"
        async with Projector(live, Effects(), into=into) as projector:
            await projector.prepare()
            done = asyncio.Event()
            writing = [asyncio.create_task(busy(live, number, done, roll_back)) for number in range(16)]
            settings = ("--into", into, "--partitions", str(PARTS), "--lease", str(LEASE))
            with _Members(tmp_path / "said", store_url, *settings) as members:
                await _harm(members)
                done.set()
                await asyncio.gather(*writing)
                await projector.wait_for(await live.head(), timeout=60)
                members.assert_alive()
            (name,) = [each.name for each in await live.consumers.all()]
            assert (await live.audit(name)).well
        with contextlib.closing(open_target(into)) as target, target.snapshot() as connection:
            effects = Counter(dict(connection.rows("select position, times from effects")))
            gaps = dict(connection.rows("select stream, gaps from streams"))
        assert effects == Counter(event.position for event in await whole_log(live))
        assert set(gaps.values()) == {0}

    async def test_killed_members(
        self, store_url: str, live: EventStore, tmp_path: Path, roll_back: RollBack | None
    ) -> None:
        """Members killed, frozen and added: a handler gets every event, and each stream's in order at first sight."""
        needs(live, "durable", "shared")
        done = asyncio.Event()
        writing = [asyncio.create_task(busy(live, number, done, roll_back)) for number in range(8)]
        settings = ("--name", "group", "--partitions", str(PARTS), "--lease", str(LEASE))
        with _Members(tmp_path / "said", store_url, *settings) as members:
            await _harm(members)
            done.set()
            await asyncio.gather(*writing)
            async with asyncio.timeout(60):
                while (await live.consumers.info("group")).behind:
                    await asyncio.sleep(0.05)
        audit, log = await live.audit("group"), await whole_log(live)
        assert (audit.well, audit.delivered) == (True, len(log))
        seen: dict[str | None, list[int]] = {}
        for place in _first_sights(tmp_path / "said"):
            seen.setdefault(place.stream, []).append(place.version)
        versions = Counter(event.stream for event in log)
        assert seen == {stream: list(range(1, versions[stream] + 1)) for stream in versions}


def _first_sights(said: Path) -> list[Place]:
    """The places of events that processes wrote, each when it was handled first."""
    lines = said.read_bytes().splitlines()
    return list(dict.fromkeys(msgspec.json.decode(line, type=Place) for line in lines))


def _by_last_digit(event: Event) -> str:
    return (event.stream or "")[-1:]


async def _until(store: EventStore, check: Callable[[dict[int, PartState]], bool]) -> None:
    async with patience():
        while not check(await store.consumers.parts("fenced")):
            await asyncio.sleep(0.02)
