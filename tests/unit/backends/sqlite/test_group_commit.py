"""Group commit: many appends in one transaction, none of which pays for another's refusal."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

import headwater as hw
from headwater import sync


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/loans.db"


def requested(number: int) -> hw.NewEvent:
    return hw.NewEvent("LoanRequested", {"case": 173_688 + number}, tags=[f"case:{number}"])


async def test_a_group_of_good_and_refused_appends_answers_each_by_itself(url: str) -> None:
    async with hw.connect(url) as store:
        first = requested(0)
        await store.append("loan-0", [first])
        kinds = {
            "good": [store.append(f"loan-{number}", [requested(number)]) for number in range(1, 40)],
            "stale": [store.append("loan-0", [requested(0)], expected=hw.NO_STREAM) for _ in range(20)],
            "again": [store.append("loan-0", [first], expected=hw.NO_STREAM) for _ in range(20)],
            "mixed": [store.append("loan-0", [first, requested(0)]) for _ in range(5)],
        }
        outcomes = await asyncio.gather(*(work for each in kinds.values() for work in each), return_exceptions=True)
        good, stale, again, mixed = outcomes[:39], outcomes[39:59], outcomes[59:79], outcomes[79:]
        assert all(isinstance(each, hw.Appended) and each.version == 1 for each in good)
        assert all(isinstance(each, hw.WrongExpectedVersion) and each.actual == 1 for each in stale)
        assert all(each == hw.Appended(1, 1, duplicate=True) for each in again)
        assert all(isinstance(each, hw.DuplicateEvent) for each in mixed)
        assert [event.position async for event in store.read_all()] == list(range(1, 41))


async def test_the_same_event_sent_twice_at_once_is_stored_once(url: str) -> None:
    async with hw.connect(url) as store:
        event = requested(1)
        results = await asyncio.gather(*(store.append("loan-1", [event]) for _ in range(50)))
        assert sorted(result.duplicate for result in results) == [False] + [True] * 49
        assert {(result.version, result.position) for result in results} == {(1, 1)}


async def test_a_condition_sees_what_its_own_group_wrote_before(url: str) -> None:
    async with hw.connect(url) as store:
        query = hw.Query([hw.QueryItem(tags=["username:ada"])])
        claims = [
            store.append(
                f"user-{number}",
                [hw.NewEvent("UsernameClaimed", {}, tags=["username:ada"])],
                condition=hw.AppendCondition(query),
            )
            for number in range(30)
        ]
        outcomes = await asyncio.gather(*claims, return_exceptions=True)
        assert sum(isinstance(each, hw.Appended) for each in outcomes) == 1
        assert sum(isinstance(each, hw.AppendConditionFailed) for each in outcomes) == 29


async def test_heads_are_read_again_when_another_connection_has_written(url: str) -> None:
    async with hw.connect(url) as here, hw.connect(url) as there:
        for version in range(1, 21):
            store = (here, there)[version % 2]
            done = await store.append("loan-1", [requested(version)], expected=version - 1)
            assert (done.version, done.position) == (version, version)
        with pytest.raises(hw.WrongExpectedVersion) as refused:
            await here.append("loan-1", [requested(0)], expected=7)
        assert refused.value.actual == 20


async def test_a_cancelled_append_leaves_the_store_working(url: str) -> None:
    async with hw.connect(url) as store:
        task = asyncio.create_task(store.append("loan-1", [requested(1)]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        done = await store.append("loan-2", [requested(2)])
        assert done.version == 1


def test_many_threads_append_through_the_synchronous_face(url: str) -> None:
    """Each caller either commits in its own thread or joins the writer's group: no version is lost or doubled."""
    with sync.connect(url) as store:
        failures: list[BaseException] = []

        def write(writer: int) -> None:
            try:
                for number in range(50):
                    store.append(f"loan-{number % 5}", [requested(writer)])
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        for number in range(5):
            assert [event.version for event in store.read(f"loan-{number}")] == list(range(1, 81))
        assert [event.position for event in store.read_all()] == list(range(1, 401))


async def test_an_append_under_way_at_close_is_finished(url: str) -> None:
    store = await hw.connect(url)
    waiting = [asyncio.create_task(store.append(f"loan-{number}", [requested(number)])) for number in range(100)]
    await asyncio.sleep(0)
    await store.close()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    kept = sum(isinstance(outcome, hw.Appended) for outcome in outcomes)
    assert all(isinstance(outcome, (hw.Appended, hw.StoreUnavailable)) for outcome in outcomes)
    async with hw.connect(url) as again:
        assert await again.head() == kept > 0
