"""Durable consumers: nothing missed, whatever stops, fails or is killed; what was delivered is accounted for."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import Callable

import msgspec
import pytest

from headwater.backend import Checkpoint, RecordChange
from headwater.errors import ForeignCheckpoint, InvalidConsumer, InvalidQuery, NotCaughtUp
from headwater.events import Event
from headwater.queries import Query, QueryItem
from headwater.store import EventStore
from headwater.subscriptions import BEGINNING, NOW, Audit, Start
from headwater.subscriptions.states import About, PartState, about_name, encoded, part_name
from headwater.testing.conformance.fixtures import StorePromises, needs, whole_log
from headwater.testing.consuming import OFTEN, Reads, RollBack, Seen, busy, caught_up, patience
from headwater.testing.following import Place
from headwater.testing.loans import CASE, loan

WRITERS = 16

_place = msgspec.json.Decoder(Place)


async def forge(store: EventStore, name: str, change: Callable[[PartState], PartState]) -> None:
    """Change a part's record behind the consumer's back."""
    (record,) = await store._backend.load_records(part_name(name, 0))
    state = msgspec.json.decode(record.value, type=PartState)
    await store._backend.save_records([RecordChange(record.name, encoded(change(state)))])


class ConsumerPromises(StorePromises):
    """``consumer``, ``consumers``, ``parked``, ``audit``."""

    @pytest.fixture(autouse=True)
    def _capable(self, request: pytest.FixtureRequest) -> None:
        if "live" in request.fixturenames:
            needs(request.getfixturevalue("live"), "records")

    async def test_consumer_goes_on_where_it_was(self, live: EventStore) -> None:
        """Stopped and started again, a consumer handles each event once, and its checkpoint is kept at the stop."""
        seen = Seen()
        for count in range(3):
            await live.append(CASE, loan(7, skip=7 * count))
            await caught_up(live, live.consumer("billing", seen))
            assert (await live.consumers.info("billing")).position == await live.head()
        assert [event.version for event in seen.events] == list(range(1, 22))
        assert await live.audit("billing") == _well(21, await live.head())

    async def test_consumer_starts(self, live: EventStore) -> None:
        """A new consumer starts at the beginning, now, at a position or at a checkpoint of this store."""
        await live.append(CASE, loan(6))
        third, head = (await whole_log(live))[2].position, await live.head()
        starts: list[Start | int | Checkpoint] = [BEGINNING, NOW, third, Checkpoint(live.identity, third)]
        expected = ([1, 2, 3, 4, 5, 6, 7], [7], [4, 5, 6, 7], [4, 5, 6, 7])
        consumers = []
        for number, start in enumerate(starts):
            consumers.append((seen := Seen(), live.consumer(f"start-{number}", seen, start=start)))
            async with consumers[-1][1] as consumer:
                await consumer.wait_for(head)
        await live.append(CASE, loan(1))
        for (seen, consumer), versions in zip(consumers, expected, strict=True):
            await caught_up(live, consumer)
            assert [event.version for event in seen.events] == versions
        for foreign in (Checkpoint("another", 1), Checkpoint(live.identity, 10**9)):
            with pytest.raises(ForeignCheckpoint):
                await live.consumer("foreign", Seen(), start=foreign).run()

    async def test_consumer_of_a_query(self, live: EventStore) -> None:
        """Events that do not match are not handled, and move the checkpoint all the same."""
        await live.append(CASE, loan())
        for types, count in ((["O_SENT", "O_CREATED"], 2), (["A_NEVER"], 0)):
            seen, name = Seen(), f"{types[0]}-mail"
            await caught_up(live, live.consumer(name, seen, query=Query([QueryItem(types=types)])))
            assert len(seen.events) == count
            assert (await live.consumers.info(name)).behind == 0
            assert (await live.audit(name)).well

    async def test_batches(self, live: EventStore) -> None:
        """A consumer of batches gets lists of at most so many events, each event once."""
        await live.append(CASE, loan(25))
        batches: list[list[Event]] = []

        async def handler(events: list[Event]) -> None:
            batches.append(events)

        await caught_up(live, live.consumer("batches", handler, batch=10))
        assert [event.version for events in batches for event in events] == list(range(1, 26))
        assert max(map(len, batches)) <= 10

    async def test_plain_function(self, live: EventStore) -> None:
        """A handler may be a plain function: it runs in a thread, so it may block."""
        await live.append(CASE, loan(5))
        seen: list[int] = []
        await caught_up(live, live.consumer("plain", lambda event: seen.append(event.version)))
        assert seen == [1, 2, 3, 4, 5]

    async def test_consumer_cancelled_under_load(self, live: EventStore, roll_back: RollBack | None) -> None:
        """Cancelled at random moments while 16 writers append, are refused and roll back, a consumer misses nothing
        and reverses nothing."""
        done, seen = asyncio.Event(), Seen()
        runs: list[list[int]] = []
        writing = [asyncio.create_task(busy(live, number, done, roll_back)) for number in range(WRITERS)]
        for _ in range(12):
            seen.events = []
            running = asyncio.create_task(live.consumer("load", seen, checkpoint=OFTEN, lease=0.5).run())
            await asyncio.sleep(random.uniform(0.01, 0.15))
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            runs.append(seen.positions)
        done.set()
        await asyncio.gather(*writing)
        seen.events = []
        await caught_up(live, live.consumer("load", seen, checkpoint=OFTEN, lease=0.5))
        runs.append(seen.positions)
        log = [event.position for event in await whole_log(live)]
        assert all(run == sorted(set(run)) for run in runs), "reversed or doubled within one run"
        assert sorted({position for run in runs for position in run}) == log
        audit = await live.audit("load")
        assert (audit.well, audit.delivered) == (True, len(log))

    async def test_killed_consumer(self, store_url: str, live: EventStore, roll_back: RollBack | None) -> None:
        """Killed without warning at random moments, a consumer misses nothing, and gets nothing again from before its
        last checkpoint."""
        needs(live, "durable", "shared")
        done = asyncio.Event()
        writing = [asyncio.create_task(busy(live, number, done, roll_back)) for number in range(4)]
        runs: list[list[Place]] = []
        checkpoints = [0]
        for kill in range(6):
            command = [sys.executable, "-m", "headwater.testing.following", store_url, "--lease", "0.5"]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                runs.append(await asyncio.to_thread(_heard, process, random.randint(1, 150) if kill < 5 else 300))
            checkpoints.append((await live.consumers.info("billing")).position)
        done.set()
        await asyncio.gather(*writing)
        rest = Seen()
        await caught_up(live, live.consumer("billing", rest, lease=0.5))
        handled = {place.position for run in runs for place in run} | set(rest.positions)
        assert handled >= {event.position for event in await whole_log(live)}
        for run, checkpoint in zip(runs, checkpoints, strict=False):
            positions = [place.position for place in run]
            assert positions == sorted(set(positions))
            assert positions[0] > checkpoint
        assert (await live.audit("billing")).well

    async def test_pause_and_resume(self, live: EventStore) -> None:
        """A paused consumer handles nothing, in any process, and goes on after ``resume``."""
        seen = Seen()
        async with live.consumer("pause", seen, lease=0.2) as consumer:
            await consumer.pause()
            await live.append(CASE, loan(3))
            with pytest.raises(NotCaughtUp):
                await consumer.wait_for(await live.head(), timeout=0.3)
            assert seen.events == []
            assert (await live.consumers.info("pause")).paused
            await live.consumers.resume("pause")
            await consumer.wait_for(await live.head())
        assert len(seen.events) == 3

    async def test_rewind(self, live: EventStore) -> None:
        """After ``rewind``, what comes after the position is handled again, or what comes before it is passed over."""
        await live.append(CASE, loan(6))
        positions, seen = _positions(await whole_log(live)), Seen()
        async with live.consumer("rewind", seen, lease=0.2) as consumer:
            await consumer.wait_for(await live.head())
            await live.consumers.rewind("rewind", positions[2])
            async with patience():
                while len(seen.events) < 9:
                    await asyncio.sleep(0.01)
            await consumer.wait_for(await live.head())
        assert seen.positions == positions + positions[3:]
        assert (await live.audit("rewind")) == _well(3, await live.head(), "rewind", since=positions[2])
        await live.append(CASE, loan(4))
        await live.consumer("rewind", seen).rewind(await live.head())
        await caught_up(live, live.consumer("rewind", seen))
        assert len(seen.events) == 9
        with pytest.raises(InvalidQuery):
            await live.consumers.rewind("rewind", await live.head() + 1)

    async def test_audit_tells(self, live: EventStore) -> None:
        """An account that does not fit the log is told: too few, too many, others, and out of order."""
        await live.append(CASE, loan(10))
        await caught_up(live, live.consumer("audited", Seen()))
        for change, found in (
            ({"count": 12}, (0, 2, 0)),
            ({"count": 7}, (3, 0, 0)),
            ({"digest": 1}, (1, 1, 0)),
            ({"reversed": 2}, (0, 0, 2)),
        ):
            before = (await live.consumers.parts("audited"))[0]
            assert (await live.audit("audited")).well
            forged = msgspec.structs.replace(before.progress, **change)
            await forge(live, "audited", lambda state, forged=forged: msgspec.structs.replace(state, progress=forged))  # type: ignore[misc]
            audit = await live.audit("audited")
            assert (audit.missed, audit.doubled, audit.reversed) == found
            await forge(live, "audited", lambda state, before=before: before)  # type: ignore[misc]

    async def test_restored_store(self, live: EventStore) -> None:
        """A consumer whose checkpoint is from another store, or beyond the log's end, does not run."""
        await live.append(CASE, loan(3))
        await caught_up(live, live.consumer("restored", Seen()))
        beyond = await live.head() + 5
        await forge(
            live,
            "restored",
            lambda state: msgspec.structs.replace(
                state, progress=msgspec.structs.replace(state.progress, position=beyond)
            ),
        )
        with pytest.raises(ForeignCheckpoint, match="ahead"):
            await live.consumer("restored", Seen()).run()
        (record,) = await live._backend.load_records(about_name("restored"))
        about = msgspec.structs.replace(msgspec.json.decode(record.value, type=About), store="another")
        await live._backend.save_records([RecordChange(record.name, encoded(about))])
        with pytest.raises(ForeignCheckpoint, match="not taken in this store"):
            await live.consumer("restored", Seen()).run()

    async def test_consumers_known(self, live: EventStore) -> None:
        """All consumers are listed with what they are behind; a dropped one is forgotten, and starts anew."""
        for name in ("billing", "mail"):
            await caught_up(live, live.consumer(name, Seen()))
        await live.append(CASE, loan(5))
        infos = await live.consumers.all()
        assert [(each.name, each.members, each.behind > 0, each.behind_seconds >= 0) for each in infos] == [
            ("billing", 0, True, True),
            ("mail", 0, True, True),
        ]
        await live.consumers.drop("mail")
        assert [each.name for each in await live.consumers.all()] == ["billing"]
        with pytest.raises(InvalidConsumer):
            await live.consumers.info("mail")
        seen = Seen()
        await caught_up(live, live.consumer("mail", seen))
        assert len(seen.events) == 5

    async def test_slow_handler(self, live: EventStore) -> None:
        """A slow handler holds a few pages of events, however many wait, and appends go on meanwhile."""
        for _ in range(20):
            await live.append(CASE, loan(1_000))
        going = asyncio.Event()

        async def slow(event: Event) -> None:
            await going.wait()

        with Reads(live) as reads:
            async with live.consumer("slow", slow) as consumer:
                for _ in range(50):
                    await live.append("loan-1", loan(1))
                    await asyncio.sleep(0.002)
                assert 0 < reads.events <= 4 * live.limits.page_events_max < 20_000
                going.set()
                await consumer.wait_for(await live.head(), timeout=60)
        assert reads.events == 20_050


def _positions(events: list[Event]) -> list[int]:
    return [event.position for event in events]


def _well(count: int, position: int, name: str = "billing", since: int = 0) -> Audit:
    return Audit(name, since, position, count, missed=0, doubled=0, reversed=0, parked=0)


def _heard(process: subprocess.Popen[bytes], count: int) -> list[Place]:
    """What a process has handled, until it is killed after so many events."""
    assert process.stdout is not None
    places = []
    for line in process.stdout:
        places += [_place.decode(line)] if line.endswith(b"\n") else []
        if len(places) == count:
            process.kill()
    assert len(places) >= count, "the process ended by itself; see its complaint on standard error"
    return places
