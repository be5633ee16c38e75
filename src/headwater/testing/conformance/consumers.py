"""Durable consumers: nothing missed, whatever stops, fails or is killed; what was delivered is accounted for."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest

from headwater.backend import Checkpoint, RecordChange
from headwater.errors import ForeignCheckpoint, InvalidConsumer, InvalidQuery, NotCaughtUp, StoreUnavailable
from headwater.events import Event
from headwater.queries import Query, QueryItem
from headwater.store import EventStore
from headwater.subscriptions import BEGINNING, NOW, Audit, Consumer, Every, Handler, Parked, Retry, Start
from headwater.subscriptions.states import About, PartState, about_name, encoded, part_name
from headwater.testing.conformance.fixtures import StorePromises, needs, whole_log
from headwater.testing.following import Place
from headwater.testing.loans import CASE, loan

WRITERS = 16
FAST = Retry(attempts=3, first=0.001, most=0.002)
OFTEN = Every(events=10, seconds=0.02)

_place = msgspec.json.Decoder(Place)


class Seen:
    """A handler that keeps what it got."""

    def __init__(self, fails: Callable[[Event], bool] = lambda event: False) -> None:
        self.events: list[Event] = []
        self.fails = fails

    async def __call__(self, event: Event) -> None:
        """Take an event in, or fail."""
        await asyncio.sleep(0)
        if self.fails(event):
            raise ValueError(f"no {event.type}")
        self.events.append(event)

    @property
    def positions(self) -> list[int]:
        """Where they are, in the order in which they came."""
        return [event.position for event in self.events]


async def caught_up(store: EventStore, consumer: Consumer) -> None:
    """Run the consumer up to the log's end, then stop it."""
    async with consumer:
        await consumer.wait_for(await store.head(), timeout=60)


async def busy(store: EventStore, number: int, done: asyncio.Event) -> None:
    """Append until told to stop."""
    count = 0
    while not done.is_set():
        await store.append(CASE if count % 4 == 0 else f"loan-{number}", loan(1 + count % 3, skip=count))
        count += 1
        await asyncio.sleep(0.002)


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

    async def test_consumer_cancelled_under_load(self, live: EventStore) -> None:
        """Cancelled at random moments while 16 writers append, a consumer misses nothing and reverses nothing."""
        done, seen = asyncio.Event(), Seen()
        runs: list[list[int]] = []
        writing = [asyncio.create_task(busy(live, number, done)) for number in range(WRITERS)]
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

    async def test_killed_consumer(self, store_url: str, live: EventStore) -> None:
        """Killed without warning at random moments, a consumer misses nothing, and gets nothing again from before its
        last checkpoint."""
        needs(live, "durable", "shared")
        done = asyncio.Event()
        writing = [asyncio.create_task(busy(live, number, done)) for number in range(4)]
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

    async def test_failures_are_tried_again(self, live: EventStore) -> None:
        """An event that fails is tried again; when it succeeds at last, nothing is parked."""
        await live.append(CASE, loan(10))
        tries: Counter[int] = Counter()

        def fails(event: Event) -> bool:
            tries[event.version] += 1
            return event.version % 4 == 0 and tries[event.version] < 3

        seen = Seen(fails)
        await caught_up(live, live.consumer("retry", seen, retry=FAST))
        assert [event.version for event in seen.events] == list(range(1, 11))
        assert [tries[version] for version in (4, 8, 5)] == [3, 3, 1]
        assert (await live.consumers.info("retry")).parked == 0

    async def test_poison(self, live: EventStore) -> None:
        """An event that always fails is parked, with its error; its neighbours are handled; replayed, it is gone."""
        await live.append(CASE, loan(10))
        await live.append("loan-2", loan(2))
        for batch in (None, 4):
            name, seen = f"poison-{batch}", Seen(lambda event: event.type == "A_ACCEPTED")
            consumer = live.consumer(name, seen if batch is None else _each(seen), batch=batch, retry=FAST, lease=0.2)
            async with consumer:
                await consumer.wait_for(await live.head())
                (parked,) = [each async for each in live.parked(name).all()]
                assert (parked.stream, parked.type, parked.attempts) == (CASE, "A_ACCEPTED", 3)
                assert "no A_ACCEPTED" in parked.error
                assert Counter(seen.positions).keys() == set(_positions(await whole_log(live))) - {parked.position}
                assert await live.parked(name).replay(parked.position) == 1
                await _until_parked(live, name, lambda each: each and each[0].attempts == 4)
                seen.fails = lambda event: False
                await live.parked(name).replay()
                await _until_parked(live, name, lambda each: not each)
            assert seen.positions[-1] == parked.position
            assert (await live.audit(name)).well

    async def test_parked_keys(self, live: EventStore) -> None:
        """With ``park_key``, later events of the key wait behind a parked one, and come in order when it is gone."""
        for version in range(1, 5):
            for number in range(3):
                await live.append(f"loan-{number}", loan(1, skip=version))
        seen = Seen(lambda event: event.stream == "loan-1" and event.version in (2, 4))
        consumer = live.consumer("keys", seen, retry=FAST, on_failure="park_key", lease=0.2)
        async with consumer:
            await consumer.wait_for(await live.head())
            parked = [each async for each in live.parked("keys").all()]
            assert [each.held for each in parked] == [False, True, True]
            assert [e.version for e in seen.events if e.stream == "loan-1"] == [1]
            assert [e.version for e in seen.events if e.stream == "loan-2"] == [1, 2, 3, 4]
            seen.fails = lambda event: event.stream == "loan-1" and event.version == 4
            await live.parked("keys").replay(parked[0].position)
            await _until_parked(live, "keys", lambda each: len(each) == 1 and not each[0].held)
            assert [e.version for e in seen.events if e.stream == "loan-1"] == [1, 2, 3]
            await live.append("loan-1", loan(1))
            await consumer.wait_for(await live.head())
            seen.fails = lambda event: False
            assert await live.parked("keys").drop(parked[2].position) == 1
            await _until_parked(live, "keys", lambda each: not each)
        assert [e.version for e in seen.events if e.stream == "loan-1"] == [1, 2, 3, 5]

    async def test_failure_that_stops(self, live: EventStore) -> None:
        """With ``stop``, the run ends with the handler's error, and goes on at that event next time."""
        await live.append(CASE, loan(6))
        seen = Seen(lambda event: event.version == 4)
        with pytest.raises(ValueError, match="no "):
            await live.consumer("stop", seen, retry=FAST, on_failure="stop").run()
        with pytest.raises(ValueError, match="no "):
            await caught_up(live, live.consumer("stop", seen, retry=FAST, on_failure="stop"))
        assert "ValueError" in (await live.consumers.info("stop")).error
        seen.fails = lambda event: False
        await caught_up(live, live.consumer("stop", seen, on_failure="stop"))
        assert [event.version for event in seen.events] == [1, 2, 3, 4, 5, 6]

    async def test_unavailable_is_waited_out(self, live: EventStore) -> None:
        """What a handler needs is away: nothing is wrong with the event, so it is tried again and never parked."""
        await live.append(CASE, loan(3))
        tries = 0

        async def handler(event: Event) -> None:
            nonlocal tries
            tries += 1
            if tries < 8:
                raise StoreUnavailable("the other database is away", "Wait.")

        await caught_up(live, live.consumer("away", handler, retry=FAST))
        assert tries == 10
        assert (await live.consumers.info("away")).parked == 0

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
            async with asyncio.timeout(10):
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
        backend, read = live._backend, 0
        reading = backend.read_all

        async def counted(*arguments: object) -> object:
            nonlocal read
            page = await reading(*arguments)  # type: ignore[arg-type]
            read += len(page.events)
            return page

        for _ in range(20):
            await live.append(CASE, loan(1_000))
        backend.read_all = counted  # type: ignore[method-assign, assignment]
        going = asyncio.Event()

        async def slow(event: Event) -> None:
            await going.wait()

        try:
            async with live.consumer("slow", slow) as consumer:
                for _ in range(50):
                    await live.append("loan-1", loan(1))
                    await asyncio.sleep(0.002)
                assert 0 < read <= 5 * live.limits.page_events_max
                assert read < 20_000
                going.set()
                await consumer.wait_for(await live.head(), timeout=60)
        finally:
            del backend.read_all
        assert read == 20_050


def _positions(events: list[Event]) -> list[int]:
    return [event.position for event in events]


def _well(count: int, position: int, name: str = "billing", since: int = 0) -> Audit:
    return Audit(name, since, position, count, missed=0, doubled=0, reversed=0, parked=0)


def _each(seen: Seen) -> Handler:
    async def handler(events: list[Event]) -> None:
        for event in events:
            await seen(event)

    return handler


async def _until_parked(store: EventStore, name: str, check: Callable[[list[Parked]], object]) -> None:
    async with asyncio.timeout(20):
        while not check([each async for each in store.parked(name).all()]):
            await asyncio.sleep(0.01)


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
