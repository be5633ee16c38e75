"""Reactors: what follows from an event follows once, whatever happens to the process that reacts."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

import headwater as hw
from headwater.backend import RecordChange
from headwater.backends.memory import MemoryBackend
from headwater.store import EventStore
from headwater.subscriptions import BlockingReaction, Reaction
from headwater.subscriptions.inbox import SWEEP_EVENTS, noted_events
from headwater.subscriptions.states import PartState, encoded, part_name
from headwater.testing.loans import CASE, loan
from tests.unit.subscriptions.reacting import LOANS, RARELY

ROOT = Path(__file__).parents[3]
ONCE = hw.Retry(attempts=1)
FAST = hw.Retry(attempts=3, first=0.001, most=0.002)


class Letters:
    """A handler that notes what it was called for; it fails where it is told to, after its work."""

    def __init__(self, *failing: str) -> None:
        self.seen: list[hw.Event] = []
        self.keys: list[str] = []
        self.failing = list(failing)

    async def __call__(self, event: hw.Event, reaction: Reaction) -> None:
        self.seen.append(event)
        self.keys.append(reaction.key)
        if event.type in self.failing:
            self.failing.remove(event.type)
            raise ConnectionError("the post office does not answer")

    @property
    def positions(self) -> list[int]:
        return [event.position for event in self.seen]


async def caught_up(store: EventStore, handler: Any, **options: Any) -> None:
    """Run the reactor up to the log's end, then stop it."""
    reactor = store.reactor("letters", handler, **{"query": LOANS, "retry": FAST, "lease": 0.5} | options)
    async with reactor:
        await reactor.wait_for(await store.head(), timeout=30)


async def set_back(store: EventStore, position: int) -> None:
    """Let the checkpoint be one from before: as it is where a process dies, with what it had noted in the inbox."""
    (record,) = await store._backend.load_records(part_name("letters", 0))
    state = msgspec.json.decode(record.value, type=PartState)
    progress = msgspec.structs.replace(state.progress, position=position)
    value = encoded(msgspec.structs.replace(state, progress=progress, furthest=position))
    await store._backend.save_records([RecordChange(record.name, value)])


async def positions(store: EventStore) -> list[int]:
    return [event.position async for event in store.read_all(query=LOANS)]


async def test_each_event_once_over_many_runs(store: EventStore) -> None:
    letters = Letters()
    for count in range(4):
        await store.append(CASE, loan(9, skip=9 * count))
        await caught_up(store, letters)
    assert letters.positions == await positions(store)
    assert (await store.audit("letters")).well
    assert (await store.consumers.info("letters")).kind == "reactor"


async def test_what_the_inbox_holds_does_not_run_again(store: EventStore) -> None:
    """The process died after its last checkpoint: the next one knows each event that was handled since."""
    await store.append(CASE, loan(12))
    letters = Letters()
    await caught_up(store, letters, checkpoint=RARELY)
    places = await positions(store)
    assert letters.positions == places
    await set_back(store, places[3])
    await store.append(CASE, loan(3))
    await caught_up(store, letters)
    assert letters.positions == await positions(store)


async def test_cancelled_at_any_moment(store: EventStore) -> None:
    """Only the event in whose handler (or whose note) it was cancelled may come again."""
    await store.append(CASE, loan(200))
    seen: Counter[int] = Counter()

    async def handler(event: hw.Event, reaction: Reaction) -> None:
        seen[event.position] += 1
        await asyncio.sleep(0)

    cancelled = 0
    while len(seen) < 200:
        running = asyncio.create_task(store.reactor("letters", handler, query=LOANS, lease=0.3).run())
        await asyncio.sleep(random.uniform(0.02, 0.08))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        cancelled += 1
    await caught_up(store, handler)
    assert sorted(seen) == await positions(store)
    assert max(seen.values()) <= 2
    assert seen.total() <= 200 + cancelled


async def test_killed(shared_url: str) -> None:
    """kill -9, again and again: what was appended is there once; the world heard twice only at a kill."""
    kills = 8
    async with hw.connect(shared_url) as store:
        for number in range(20):
            await store.append(f"loan-{number}", loan(20))
        expected = await positions(store)
        heard: list[int] = []
        killed = 0
        while missing := set(expected) - set(heard):
            upto = random.randrange(20, 40) if killed < kills else len(expected)
            heard += await asyncio.to_thread(_run_and_kill, shared_url, upto, missing)
            killed += 1
        assert killed > kills
        assert set(heard) == set(expected)
        assert len(heard) <= len(expected) + killed, "all since the checkpoint was done again"
        letters = [event async for event in store.read_all(query=hw.Query([hw.QueryItem(types=["LetterSent"])]))]
        causes = Counter(event.metadata["causation_id"] for event in letters)
        assert len(causes) == len(expected)
        assert set(causes.values()) == {1}


def _run_and_kill(url: str, upto: int, missing: set[int]) -> list[int]:
    """Run the reactor until it has told of so many positions, or of all that are missing; all that it told of."""
    program = [sys.executable, "-m", "tests.unit.subscriptions.reacting", url]
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        heard: list[int] = []
        while len(heard) < upto and not missing <= set(heard):
            heard.append(int(process.stdout.readline()))
        process.kill()
        return heard + [int(line) for line in process.stdout]


async def test_the_inbox_is_cleaned_up(store: EventStore) -> None:
    """What the checkpoint has passed is removed as it goes on, and at the next start."""
    await store.append(CASE, loan(3 * SWEEP_EVENTS + 20))
    await caught_up(store, Letters(), checkpoint=hw.Every(events=10))
    noted = await noted_events(store._backend, "letters")
    assert 0 < len(noted) <= SWEEP_EVENTS + 20
    done = await store.append(CASE, loan(1))
    await caught_up(store, Letters())
    assert list((await noted_events(store._backend, "letters")).values()) == [done.position]


async def test_a_parked_event_runs_again_when_it_is_replayed(store: EventStore) -> None:
    await store.append(CASE, loan(8))
    letters = Letters("A_ACCEPTED")
    await caught_up(store, letters, retry=ONCE)
    (parked,) = [each async for each in store.parked("letters").all()]
    assert parked.type == "A_ACCEPTED"
    assert await store.parked("letters").replay() == 1
    reactor = store.reactor("letters", letters, query=LOANS, lease=0.3)
    async with reactor, asyncio.timeout(20):
        while [each async for each in store.parked("letters").all()]:
            await asyncio.sleep(0.01)
    assert Counter(letters.positions) == {**dict.fromkeys(await positions(store), 1), parked.position: 2}
    await set_back(store, 0)
    again = Letters()
    await caught_up(store, again)
    assert parked.position not in again.positions, "it was handled in the end, and noted"


@pytest.mark.parametrize("rerun", [False, True])
async def test_a_rewind(store: EventStore, rerun: bool) -> None:
    """What was handled or parked is not reacted to again, unless that is wanted."""
    await store.append(CASE, loan(8))
    await caught_up(store, Letters("O_SELECTED"), retry=ONCE, rerun=rerun)
    await store.consumers.rewind("letters", 0)
    await store.append(CASE, loan(2, skip=8))
    again = Letters()
    await caught_up(store, again, rerun=rerun)
    places = await positions(store)
    assert again.positions == (places if rerun else places[8:])
    assert (await store.audit("letters")).well


@pytest.mark.parametrize("rerun", [False, True])
async def test_a_rewind_while_it_runs_ahead_of_its_checkpoint(store: EventStore, rerun: bool) -> None:
    await store.append(CASE, loan(8))
    letters = Letters()
    reactor = store.reactor("letters", letters, query=LOANS, checkpoint=RARELY, lease=0.3, rerun=rerun)
    async with reactor:
        await reactor.wait_for(await store.head())
        assert (await store.consumers.info("letters")).position == 0, "only the inbox knows"
        await store.consumers.rewind("letters", 0)
        done = await store.append(CASE, loan(2))
        async with asyncio.timeout(20):
            while done.position not in letters.positions or (rerun and len(letters.seen) < 18):
                await asyncio.sleep(0.01)
    times = Counter(letters.positions)
    places = await positions(store)
    assert set(times) == set(places)
    assert [times[place] for place in places[:8]] == [2 if rerun else 1] * 8


async def test_the_same_reaction_again_is_a_retry(store: EventStore) -> None:
    """The handler fails after it has appended: the next attempt appends the same, and nothing is doubled."""
    outcomes: list[hw.Appended] = []

    async def handler(event: hw.Event, reaction: Reaction) -> None:
        offer = [hw.NewEvent("OfferMade", {"amount": 20_000}), hw.NewEvent("OfferSent", {})]
        outcomes.append(await reaction.append("offer-1", offer, expected=hw.NO_STREAM))
        outcomes.append(await reaction.append("offer-1", hw.NewEvent("OfferFiled", {}), expected=2))
        if len(outcomes) == 2:
            raise ConnectionError("the post office does not answer")

    await store.append(CASE, loan(1))
    await caught_up(store, handler)
    assert [done.duplicate for done in outcomes] == [False, False, True, True]
    assert [event.type async for event in store.read("offer-1")] == ["OfferMade", "OfferSent", "OfferFiled"]


async def test_several_streams_at_once(store: EventStore) -> None:
    async def handler(event: hw.Event, reaction: Reaction) -> None:
        offers = [hw.Append(f"offer-{number}", (hw.NewEvent("OfferMade", {}),)) for number in (1, 2)]
        first = await reaction.append_all(offers)
        assert [done.version for done in first] == [1, 1]

    await store.append(CASE, loan(1))
    await caught_up(store, handler)
    await set_back(store, 0)
    await store.consumers.drop("letters")
    await caught_up(store, handler)  # another life of the reactor, the same name: the same ids
    assert [event.stream async for event in store.read_all(query=_types("OfferMade"))] == ["offer-1", "offer-2"]


def _types(*types: str) -> hw.Query:
    return hw.Query([hw.QueryItem(types=types)])


async def test_what_caused_what(store: EventStore) -> None:
    """Metadata of what follows: its cause, the whole process's correlation; but the handler's own words win."""

    async def handler(event: hw.Event, reaction: Reaction) -> None:
        await reaction.append("offer-1", hw.NewEvent("OfferMade", {}, metadata={"by": "letters"}, tags=["clerk:112"]))
        await reaction.append("offer-1", hw.NewEvent("OfferSent", {}, metadata={"correlation_id": "mine"}))

    (submitted,) = loan(1)
    await store.append(CASE, submitted)
    await store.append(CASE, hw.NewEvent("A_ACCEPTED", {}, metadata={"correlation_id": "case 173688"}))
    await caught_up(store, handler)
    offers = [event async for event in store.read("offer-1")]
    events = [event async for event in store.read(CASE)]
    assert offers[0].metadata == {
        "by": "letters",
        "causation_id": str(submitted.id),
        "correlation_id": str(submitted.id),
    }
    assert offers[0].tags == ("clerk:112",)
    assert offers[1].metadata == {"correlation_id": "mine", "causation_id": str(submitted.id)}
    assert offers[2].metadata["correlation_id"] == "case 173688"
    assert offers[2].metadata["causation_id"] == str(events[1].id)


async def test_keys(store: EventStore) -> None:
    """The same at each attempt; another one for another event, or another reactor."""
    await store.append(CASE, loan(2))
    letters, mails = Letters("A_SUBMITTED"), Letters()
    await caught_up(store, letters)
    first, second, third = letters.keys
    assert first == second != third
    mail = store.reactor("mails", mails, query=LOANS)
    async with mail:
        await mail.wait_for(await store.head())
    assert len({*letters.keys, *mails.keys}) == 4
    assert all(uuid.UUID(key).version == 5 for key in letters.keys)


async def test_plain_function(store: EventStore) -> None:
    """It runs in a thread and may block; what it does through its reaction happens in the store's own loop."""
    threads = set()

    def handler(event: hw.Event, reaction: BlockingReaction) -> None:
        threads.add(threading.current_thread())
        assert reaction.key
        made = reaction.append("offer-1", hw.NewEvent("OfferMade", {"for": event.type}))
        reaction.append_all([hw.Append("offer-2", (hw.NewEvent("OfferMade", {}),))])
        reaction.schedule("offer-1", hw.NewEvent("OfferLapsed", {}), due=timedelta(days=30))
        assert made.position > event.position
        if event.type == "A_PARTLYSUBMITTED":
            reaction.append("offer-1", hw.NewEvent("OfferLapsed", {}), expected=999)

    await store.append(CASE, loan(2))
    await caught_up(store, handler, retry=ONCE)
    assert threading.main_thread() not in threads
    assert len([event async for event in store.read("offer-1")]) == 2
    assert len([event async for event in store.read("offer-2")]) == 2
    assert len([each async for each in store.scheduled.all()]) == 2
    (parked,) = [each async for each in store.parked("letters").all()]
    assert parked.error.startswith("WrongExpectedVersion"), "the store's errors reach the handler"


async def test_schedule_after_the_event(store: EventStore) -> None:
    """A time from the event, not from the clock of the moment: the next attempt schedules nothing more."""
    attempts = []

    async def handler(event: hw.Event, reaction: Reaction) -> None:
        await reaction.schedule(CASE, hw.NewEvent("OfferLapsed", {}), due=timedelta(days=30))
        await reaction.schedule(CASE, hw.NewEvent("OfferForgotten", {}), due=datetime(2031, 10, 1, tzinfo=UTC))
        attempts.append(event)
        if len(attempts) == 1:
            raise ConnectionError("the post office does not answer")

    await store.append(CASE, loan(1))
    await caught_up(store, handler)
    assert len(attempts) == 2
    scheduled = {each.types: each async for each in store.scheduled.all()}
    assert set(scheduled) == {("OfferLapsed",), ("OfferForgotten",)}
    assert scheduled["OfferLapsed",].due_at == attempts[0].recorded_at + timedelta(days=30)
    metadata = msgspec.json.decode(scheduled["OfferLapsed",].events[0].metadata)
    assert metadata["causation_id"] == str(attempts[0].id)


@pytest.mark.parametrize("wrong", [["OfferMade"], 7, [None], {hw.NewEvent("OfferMade", {}): 1}])
async def test_what_is_no_event_is_refused_as_ever(store: EventStore, wrong: Any) -> None:
    async def handler(event: hw.Event, reaction: Reaction) -> None:
        await reaction.append("offer-1", wrong)

    await store.append(CASE, loan(1))
    await caught_up(store, handler, retry=ONCE)
    (parked,) = [each async for each in store.parked("letters").all()]
    assert parked.error.startswith("InvalidEvent")


class FailsToNote(MemoryBackend):
    """Is away at the first write of each inbox record."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()

    async def save_records(self, changes: Sequence[RecordChange]) -> list[int]:
        new = {each.name for each in changes if each.name.startswith("inbox/") and each.value} - self.refused
        self.refused |= new
        if new:
            raise hw.StoreUnavailable("the store is away", "Wait.")
        return await super().save_records(changes)


async def test_a_note_that_fails_is_repeated_without_the_handler() -> None:
    store = EventStore(FailsToNote())
    await store.append(CASE, loan(6))
    letters = Letters()
    await caught_up(store, letters)
    assert letters.positions == await positions(store)
    assert len(await noted_events(store._backend, "letters")) == 6


async def test_dropped_while_it_runs(store: EventStore, caplog: pytest.LogCaptureFixture) -> None:
    """It ends, and says why; no event is blamed. Another reactor of its name begins with an empty inbox."""
    going = asyncio.Event()

    async def handler(event: hw.Event, reaction: Reaction) -> None:
        going.set()
        await asyncio.sleep(0.001)

    await store.append(CASE, loan(2_000))
    running = asyncio.create_task(
        store.reactor("letters", handler, query=LOANS, retry=FAST, lease=2, checkpoint=RARELY).run()
    )
    await going.wait()
    await store.consumers.drop("letters")
    with pytest.raises(hw.InvalidConsumer, match="was dropped while it ran"):
        await asyncio.wait_for(running, 20)
    assert [each async for each in store.parked("letters").all()] == []
    assert "ValueError" not in caplog.text
    letters = Letters()
    await caught_up(store, letters, query=hw.Query([hw.QueryItem(types=["A_SUBMITTED"])]))
    assert len(letters.seen) == 77


async def test_members_share_the_reactions(store: EventStore) -> None:
    """Two members, four parts: each event once, whoever reacts."""
    for number in range(12):
        await store.append(f"loan-{number}", loan(10))
    letters = Letters()
    members = [store.reactor("letters", letters, query=LOANS, partitions=4, lease=0.5) for _ in range(2)]
    async with members[0], members[1]:
        await members[0].wait_for(await store.head())
        await members[1].wait_for(await store.head())
    assert sorted(letters.positions) == await positions(store)
