"""Many writers at a time: one wins, nothing is lost or doubled, and who follows them misses none (promises 2-4)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Sequence
from typing import TypeVar

import pytest

from headwater.backend import Appended
from headwater.errors import AppendConditionFailed, AppendRefused, WrongExpectedVersion
from headwater.events import Event, NewEvent
from headwater.queries import NO_STREAM, AppendCondition, Query, QueryItem
from headwater.store import Append, EventStore
from headwater.testing.conformance.fixtures import OpenStore, StorePromises, history, needs, refusal, whole_log
from headwater.testing.loans import CASE, loan

WRITERS = 16

T = TypeVar("T")


async def _together(calls: Sequence[Awaitable[T]]) -> tuple[list[T], list[AppendRefused]]:
    """Run all at a time: the results of those that were done, the errors of those that were refused."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, AppendRefused):
            raise outcome
    done = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    return done, [outcome for outcome in outcomes if isinstance(outcome, AppendRefused)]


async def _append_next(store: EventStore, stream: str, event: NewEvent) -> Appended:
    """Read the version, append with it, and again while somebody else is faster."""
    while True:
        info = await store.stream(stream)
        try:
            return await store.append(stream, event, expected=info.version if info else NO_STREAM)
        except WrongExpectedVersion:
            continue


async def _busy_writer(store: EventStore, number: int, rounds: int) -> list[Appended]:
    """Appends of one and of several events to its own and to a shared stream, each third one bound to be refused."""
    results = []
    for count in range(rounds):
        stream = CASE if count % 2 else f"loan-{number}"
        results.append(await store.append(stream, loan(1 + count % 3, skip=count)))
        if count % 3 == 0:
            assert isinstance(await refusal(store.append(stream, loan(2), expected=10**6)), WrongExpectedVersion)
        if count % 5 == 0 and store.capabilities.append_condition:
            condition = AppendCondition(Query.all())
            assert isinstance(await refusal(store.append(None, loan(1), condition=condition)), AppendConditionFailed)
    return results


async def _follow(store: EventStore, done: asyncio.Event) -> list[Event]:
    """What a reader sees who follows the log by position until the writers are done, and then reads to the end."""
    seen: list[Event] = []
    after = 0
    while True:
        last_round = done.is_set()
        async for event in store.read_all(after=after):
            seen.append(event)
            after = event.position
        if last_round:
            return seen
        await store.wait(after, timeout=0.2)
        await asyncio.sleep(0)  # a backend that never waits would not let the writers run


async def _write_and_follow(
    readers: Sequence[EventStore], writers: Sequence[EventStore], rounds: int
) -> tuple[list[list[Event]], list[Appended]]:
    done = asyncio.Event()
    following = [asyncio.create_task(_follow(reader, done)) for reader in readers]
    writing = [_busy_writer(writers[number % len(writers)], number, rounds) for number in range(WRITERS)]
    try:
        results = await asyncio.gather(*writing)
    finally:
        done.set()
    return [await task for task in following], [each for some in results for each in some]


def _assert_followed(seen: list[Event], log: list[Event], results: list[Appended]) -> None:
    positions = [event.position for event in seen]
    assert positions == sorted(set(positions)), "the reader saw an event twice, or out of order"
    assert [event.id for event in seen] == [event.id for event in log], "the reader missed events"
    assert {result.position for result in results} <= set(positions), "an acknowledged event is missing"


class ConcurrencyPromises(StorePromises):
    """Races, each with a known outcome."""

    async def test_one_wins_each_round(self, store: EventStore) -> None:
        """Of 16 writers with the same expected version one wins; the others learn the version; no holes."""
        for version in range(8):
            won, lost = await _together(
                [store.append(CASE, loan(1, skip=version), expected=version) for _ in range(WRITERS)]
            )
            assert [result.version for result in won] == [version + 1]
            assert len(lost) == WRITERS - 1
            for each in lost:
                assert isinstance(each, WrongExpectedVersion)
                assert (each.stream, each.expected, each.actual) == (CASE, version, version + 1)
        assert [event.version for event in await history(store, CASE)] == list(range(1, 9))

    async def test_one_creates_the_stream(self, store: EventStore) -> None:
        """Of 16 writers who expect no stream, one makes it; again and again."""
        for name in (f"loan-{number}" for number in range(8)):
            won, lost = await _together([store.append(name, loan(2), expected=NO_STREAM) for _ in range(WRITERS)])
            assert (len(won), len(lost)) == (1, WRITERS - 1)
            assert [event.version for event in await history(store, name)] == [1, 2]

    async def test_everybody_gets_through(self, store: EventStore) -> None:
        """16 writers who read, append and try again all get through: versions have no holes, no event is lost."""
        events = loan(4 * WRITERS)
        results = await asyncio.gather(*(_append_next(store, CASE, event) for event in events))
        assert sorted(result.version for result in results) == list(range(1, len(events) + 1))
        stored = await history(store, CASE)
        assert {event.id for event in stored} == {event.id for event in events}
        assert all(stored[result.version - 1].position == result.position for result in results)

    async def test_interleaved_expected_versions(self, store: EventStore) -> None:
        """Two writers take turns: who acts on what it read before the other wrote is refused, each time."""
        read_by_one = 0
        for _ in range(5):
            read_by_other = read_by_one
            done = await store.append(CASE, loan(1), expected=read_by_one)
            with pytest.raises(WrongExpectedVersion) as refused:
                await store.append(CASE, loan(2), expected=read_by_other)
            assert refused.value.actual == done.version
            again = await store.append(CASE, loan(2), expected=refused.value.actual)
            read_by_one = again.version
        assert [event.version for event in await history(store, CASE)] == list(range(1, 16))

    async def test_any_never_conflicts(self, store: EventStore) -> None:
        """Appends that expect nothing all succeed; each is in one piece, its events side by side in the stream."""
        appends = [loan(3) for _ in range(4 * WRITERS)]
        results = await asyncio.gather(*(store.append(CASE, events) for events in appends))
        assert sorted(result.version for result in results) == list(range(3, 3 * len(appends) + 1, 3))
        stored = await history(store, CASE)
        assert [event.version for event in stored] == list(range(1, 3 * len(appends) + 1))
        for events, result in zip(appends, results, strict=True):
            assert [event.id for event in stored[result.version - 3 : result.version]] == [each.id for each in events]

    async def test_refused_neighbours(self, store: EventStore) -> None:
        """Appends that are refused cost their neighbours in the same group nothing."""
        calls = [
            store.append(f"loan-{number}", loan(1), expected=NO_STREAM if number % 2 else 5)
            for number in range(4 * WRITERS)
        ]
        won, lost = await _together(calls)
        assert (len(won), len(lost)) == (2 * WRITERS, 2 * WRITERS)
        assert len(await whole_log(store)) == 2 * WRITERS

    async def test_several_streams_in_opposite_order(self, store: EventStore) -> None:
        """Appends over the same streams in opposite order don't block each other for good, and are all or none."""
        needs(store, "atomic_streams")
        names = [f"loan-{number}" for number in range(4)]
        calls = [
            store.append_all([Append(name, loan(1)) for name in (names if number % 2 else names[::-1])])
            for number in range(2 * WRITERS)
        ]
        await asyncio.gather(*calls)
        for name in names:
            assert [event.version for event in await history(store, name)] == list(range(1, 2 * WRITERS + 1))

    async def test_racing_append_all(self, store: EventStore) -> None:
        """Of 16 appends over two streams with the same expectations, one wins, and both its parts are there."""
        needs(store, "atomic_streams")
        for version in range(4):
            calls = [
                store.append_all([Append(CASE, loan(1), version), Append("offer-1", loan(1), version)])
                for _ in range(WRITERS)
            ]
            won, lost = await _together(calls)
            assert (len(won), len(lost)) == (1, WRITERS - 1)
        assert len(await whole_log(store)) == 8

    @pytest.mark.parametrize("stream", [CASE, None])
    async def test_racing_conditions(self, store: EventStore, stream: str | None) -> None:
        """Of 16 conditional appends that race on one boundary exactly one wins, round for round."""
        needs(store, "append_condition")
        query = Query([QueryItem(types=["A_SUBMITTED"], tags=["applicant:112"])])
        after = 0
        for _ in range(4):
            calls = [
                store.append(
                    stream,
                    NewEvent("A_SUBMITTED", {}, tags=["applicant:112"]),
                    condition=AppendCondition(query, after),
                )
                for _ in range(WRITERS)
            ]
            won, lost = await _together(calls)
            assert len(won) == 1
            assert all(isinstance(each, AppendConditionFailed) for each in lost)
            after = won[0].position
        assert len(await whole_log(store, query=query)) == 4

    async def test_condition_races_with_plain_appends(self, store: EventStore) -> None:
        """Where a conditional append was written, no match stands before it, whatever plain appends raced with it."""
        needs(store, "append_condition")
        query = Query([QueryItem(types=["A_CANCELLED"])])
        for number in range(8):
            stream = f"loan-{number}"
            case = Query([QueryItem(types=["A_CANCELLED"], streams=[stream])])
            await _together(
                [
                    *(store.append(stream, NewEvent("A_CANCELLED", {})) for _ in range(3)),
                    store.append(stream, NewEvent("A_APPROVED", {}), condition=AppendCondition(case)),
                    *(store.append(stream, NewEvent("A_CANCELLED", {})) for _ in range(3)),
                ]
            )
            kinds = [event.type for event in await history(store, stream)]
            assert kinds.count("A_CANCELLED") == 6
            assert "A_APPROVED" not in kinds or kinds[0] == "A_APPROVED"
        assert len(await whole_log(store, query=query)) == 48

    async def test_racing_duplicates(self, store: EventStore) -> None:
        """Of 16 racing appends of the same events one writes them; all learn the same place."""
        for count in range(1, 5):
            events = loan(count)
            results = await asyncio.gather(*(store.append(CASE, events) for _ in range(WRITERS)))
            assert [result.duplicate for result in results].count(False) == 1
            assert len({(result.version, result.position) for result in results}) == 1
        assert [event.version for event in await history(store, CASE)] == list(range(1, 11))

    async def test_racing_duplicates_with_expectation(self, store: EventStore) -> None:
        """Racing retries succeed whatever they expect; other appends with the same expectation are refused."""
        events = loan(2)
        retries = [store.append(CASE, events, expected=NO_STREAM) for _ in range(WRITERS // 2)]
        others = [store.append(CASE, loan(2), expected=NO_STREAM) for _ in range(WRITERS // 2)]
        won, lost = await _together([each for pair in zip(retries, others, strict=True) for each in pair])
        assert len({result.position for result in won}) == 1
        assert all(isinstance(each, WrongExpectedVersion) for each in lost)
        assert len(await history(store, CASE)) == 2

    async def test_tailing_reader(self, store: EventStore) -> None:
        """A reader who follows 16 writers, some of whose appends are refused, sees every event once and in order."""
        ((seen,), results) = await _write_and_follow([store], [store], rounds=12)
        _assert_followed(seen, await whole_log(store), results)
        versions = [event.version for event in seen if event.stream == CASE]
        assert versions == list(range(1, len(versions) + 1))

    async def test_tailing_reader_of_another_opening(self, open_store: OpenStore) -> None:
        """So does a reader through another opening of the store, while the writers use two."""
        async with open_store() as one, open_store() as two, open_store() as three:
            needs(one, "shared")
            (seen_by, results) = await _write_and_follow([one, two], [two, three], rounds=6)
            log = await whole_log(one)
            for seen in seen_by:
                _assert_followed(seen, log, results)

    async def test_two_openings_race(self, open_store: OpenStore) -> None:
        """Two openings of one store are held to the same expected version: one wins."""
        async with open_store() as one, open_store() as two:
            needs(one, "shared")
            for version in range(6):
                won, lost = await _together(
                    [store.append(CASE, loan(1), expected=version) for store in (one, two) for _ in range(4)]
                )
                assert (len(won), len(lost)) == (1, 7)
            assert [event.version for event in await history(two, CASE)] == [1, 2, 3, 4, 5, 6]

    async def test_readers_beside_writers(self, store: EventStore) -> None:
        """Who reads a stream while it is written sees versions without a hole, from the first on."""
        events = loan(8 * WRITERS)
        writing = asyncio.gather(*(store.append(CASE, event) for event in events))
        lengths = []
        while not writing.done():
            versions = [event.version for event in await history(store, CASE)]
            assert versions == list(range(1, len(versions) + 1))
            lengths.append(len(versions))
            await asyncio.sleep(0)  # a backend that never waits would not let the writers run
        await writing
        assert lengths == sorted(lengths)
        assert len(await history(store, CASE)) == len(events)

    async def test_cancelled_appends(self, store: EventStore) -> None:
        """An append whose task is cancelled is there whole or not at all, and the store goes on."""
        appends = [loan(3) for _ in range(4 * WRITERS)]
        tasks = [asyncio.ensure_future(store.append(CASE, events)) for events in appends]
        await asyncio.sleep(0)
        for task in itertools.islice(tasks, 0, None, 2):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        done = await store.append(CASE, loan(1))  # its turn comes after those that are under way
        stored = await history(store, CASE)
        assert [event.version for event in stored] == list(range(1, done.version + 1))
        whole = {tuple(event.id for event in stored[start : start + 3]) for start in range(0, done.version - 1, 3)}
        assert whole <= {tuple(event.id for event in events) for events in appends}
        assert all(
            tuple(event.id for event in events) in whole
            for task, events in zip(tasks, appends, strict=True)
            if not task.cancelled()
        )
