"""A projection in step with the log: each effect once, read-your-writes, and failures that leave nothing half done."""

from __future__ import annotations

import asyncio

import pytest

import headwater as hw
from headwater.projections.targets import open_target
from headwater.testing.loans import loan
from tests.unit.projections.conftest import Effects, Submitted, rows

FAST = hw.Retry(attempts=2, first=0.001, most=0.001)


async def applications(store: hw.EventStore, count: int, steps: int = 5) -> None:
    for number in range(count):
        await store.append(f"loan-{number}", loan(steps))


def effects(into: str) -> list[tuple[object, ...]]:
    return rows(into, "select count(*), sum(times), max(times) from effects")


async def test_live_it_shows_what_was_appended(store: hw.EventStore, into: str) -> None:
    await applications(store, 20)
    async with hw.Projector(store, Effects(), into=into) as projector, projector.running():
        for _ in range(5):
            done = await store.append("loan-3", loan(1))
            await projector.wait_for(done)
            assert rows(into, "select last_type from steps where loan = 'loan-3'") == [("A_SUBMITTED",)]
        assert await projector.position() == await store.head()
        assert rows(into, "select steps from steps where loan = 'loan-3'") == [(10,)]
    assert effects(into) == [(105, 105, 1)]
    assert len(rows(into, "select * from effects_v1")) == 105, "the view shows this version's table"


async def test_a_second_run_goes_on_where_the_first_ended(store: hw.EventStore, into: str) -> None:
    for _ in range(3):
        await applications(store, 4)
        async with hw.Projector(store, Effects(), into=into) as projector, projector.running():
            await projector.wait_for(await store.head())
    assert effects(into) == [(60, 60, 1)]


async def test_waiting_does_not_need_an_event_of_ones_own(store: hw.EventStore, into: str) -> None:
    """Events that the projection does not handle are waited for at once, by whoever waits."""
    async with hw.Projector(store, Submitted(), into=into) as projector, projector.running():
        await projector.wait_for(await store.append("loan-1", loan(6)))
        async with hw.Projector(store, Submitted(), into=into) as elsewhere:
            await elsewhere.wait_for(await store.append("loan-1", loan(3, skip=1)), timeout=1)
    assert rows(into, "select * from submitted") == [("loan-1", 20000)]


async def test_waiting_ends_and_says_how_far_it_came(store: hw.EventStore, into: str) -> None:
    await applications(store, 1)
    async with hw.Projector(store, Submitted(), into=into) as projector:
        with pytest.raises(hw.NotCaughtUp) as waited:
            await projector.wait_for(await store.append("loan-9", loan(1)), timeout=0.05)
        assert (waited.value.wanted, waited.value.reached) == (6, 0)


async def test_parts_side_by_side(store: hw.EventStore, into: str) -> None:
    await applications(store, 30)
    async with hw.Projector(store, Effects(), into=into) as projector:
        async with projector.running(partitions=3, batch=7):
            await projector.wait_for(await store.head())
            await projector.wait_for(await store.append("loan-1", loan(4)))
        assert [each.parts for each in await projector.versions()] == [3]
        await projector.catch_up()
        assert effects(into) == [(154, 154, 1)]
        async with projector.running(partitions=2):  # now in another number of parts
            await projector.wait_for(await store.append("loan-2", loan(4)))
    assert effects(into) == [(158, 158, 1)]
    assert rows(into, "select steps from steps where loan = 'loan-2'") == [(9,)]


class Careful(Effects):
    """Fails at an event of a stream that it does not like, after having written."""

    bad = "loan-5"

    def happened(self, event: hw.Event, view: hw.View) -> None:
        super().happened(event, view)
        if event.stream == self.bad:
            raise ValueError(f"no {event.stream}")


async def test_a_handler_that_fails_stops_it_there(store: hw.EventStore, into: str) -> None:
    await applications(store, 10)
    async with hw.Projector(store, Careful(), into=into) as projector:
        with pytest.raises(ValueError, match="no loan-5"):
            await projector.run(retry=FAST)
        assert await projector.position() == 25, "up to the event that failed, none of which is half done"
        assert effects(into) == [(25, 25, 1)]
        with pytest.raises(ValueError, match="no loan-5"):
            async with projector.running(retry=FAST):
                await projector.wait_for(await store.head())
    async with hw.Projector(store, Effects(), into=into) as corrected, corrected.running():
        await corrected.wait_for(await store.head())
    assert effects(into) == [(50, 50, 1)]


class Mistaken(hw.Projection):
    name = "mistaken"
    tables = "create table {once} (loan text primary key)"

    @hw.handles()
    def happened(self, event: hw.Event, view: hw.View) -> None:
        view.execute("insert into {once} values (:loan)", {"loan": event.stream})


async def test_what_the_database_refuses_is_said_in_its_words(store: hw.EventStore, into: str) -> None:
    await applications(store, 1)
    async with hw.Projector(store, Mistaken(), into=into) as projector:
        with pytest.raises(hw.TargetFailed, match=r"(?i)unique"):
            await projector.run(retry=FAST)
        assert await projector.position() == 1


async def test_a_table_that_is_not_declared_is_refused(store: hw.EventStore, into: str) -> None:
    class Reaching(Submitted):
        def submitted(self, event: hw.Event, view: hw.View) -> None:
            view.execute("delete from {effects}")

    await applications(store, 1)
    async with hw.Projector(store, Reaching(), into=into) as projector:
        with pytest.raises(hw.InvalidProjection, match=r"names the table \{effects\}"):
            await projector.catch_up()


class Reading(Effects):
    """Reads its own rows in between."""

    name = "reading"

    def happened(self, event: hw.Event, view: hw.View) -> None:
        super().happened(event, view)
        found = view.one("select steps from {steps} where loan = :loan", {"loan": event.stream})
        assert found == (event.version,)
        assert view.one("select 1 from {steps} where loan = :loan", {"loan": "nobody"}) is None
        assert len(view.all("select * from {effects}")) == event.position


async def test_a_handler_sees_what_it_wrote(store: hw.EventStore, into: str) -> None:
    await applications(store, 5)
    async with hw.Projector(store, Reading(), into=into) as projector:
        assert await projector.catch_up(batch=10) == 25


async def test_two_runners_at_once_have_each_effect_once(store: hw.EventStore, into: str) -> None:
    await applications(store, 60)
    one, other = (hw.Projector(store, Effects(), into=into) for _ in range(2))
    async with one, other:
        for upto in (100, 200, 300):
            await asyncio.gather(*(each.catch_up(upto=upto, batch=9) for each in (one, other)))
        assert (await one.versions())[0].count == 300
    assert effects(into) == [(300, 300, 1)]


async def test_the_sink_goes_by_position_whatever_it_is_given(store: hw.EventStore, into: str) -> None:
    await applications(store, 4)
    events = [event async for event in store.read_all()]
    async with hw.Projector(store, Effects(), into=into) as projector:
        await projector.prepare()
        sink, zombie = projector._sink(1), projector._sink(1)
        assert await sink.start(0, 17) == 0, "the consumer's own checkpoint does not count"
        assert await zombie.start(0, 0) == 0
        for first, last in ((0, 8), (3, 8), (5, 12), (0, 12), (12, 13), (2, 20), (0, 1)):
            await sink.handle(0, events[first:last])
            await zombie.handle(0, events[:last])
        assert await sink.start(0, 0) == 20
    assert effects(into) == [(20, 20, 1)]


async def test_another_stores_position_is_refused(store: hw.EventStore, into: str) -> None:
    await applications(store, 2)
    async with hw.Projector(store, Effects(), into=into) as projector:
        await projector.catch_up()
    async with hw.connect("memory:") as another:
        await applications(another, 2)
        async with hw.Projector(another, Effects(), into=into) as projector:
            with pytest.raises(hw.ForeignCheckpoint, match="was not taken in this store"):
                await projector.run()


async def test_a_store_restored_from_an_older_backup_is_refused(store: hw.EventStore, into: str) -> None:
    """Its log ends below the target's position; or it has grown since, with other events there."""
    await applications(store, 2)
    async with hw.Projector(store, Effects(), into=into) as projector:
        await projector.catch_up()
        async with hw.connect("memory:") as restored:
            restored._backend.identity = store.identity  # type: ignore[misc]  # as a restored copy has it
            await applications(restored, 1)
            async with hw.Projector(restored, Effects(), into=into) as later:
                with pytest.raises(hw.ForeignCheckpoint, match="ahead of this store"):
                    await later.run()
                await applications(restored, 3, steps=7)
                with pytest.raises(hw.ForeignCheckpoint):
                    await later.run()
    assert effects(into) == [(10, 10, 1)]


async def test_a_target_restored_from_an_older_backup_goes_on_from_there(store: hw.EventStore, into: str) -> None:
    await applications(store, 6)
    async with hw.Projector(store, Effects(), into=into) as projector:
        await projector.catch_up(upto=10, batch=5)
        async with projector.running(lease=0.2):
            await projector.wait_for(30)
            _turn_back(into, 10)
            await store.append("loan-1", loan(1))
            await projector.wait_for(31, timeout=10)  # the runner notices, and begins again from the target
    assert effects(into) == [(31, 31, 1)]


def _turn_back(into: str, position: int) -> None:
    """As a restored backup would have it: rows and position of an earlier time."""
    target = open_target(into)
    with target.transaction() as connection:
        connection.execute("delete from effects_v1 where position > :position", {"position": position})
        connection.execute(
            "update headwater_projection_parts set position = :position, count = :position, last_id = ''",
            {"position": position},
        )
    target.close()


async def test_a_target_that_goes_away_is_waited_for(store: hw.EventStore, postgres_schema_url: str) -> None:
    """Every connection is cut again and again while the projection runs."""
    import psycopg

    named = f"{postgres_schema_url}&application_name=headwater_cut"
    cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'headwater_cut'"
    await applications(store, 400)
    cuts = 0
    async with (
        hw.Projector(store, Effects(), into=named) as projector,
        await psycopg.AsyncConnection.connect(postgres_schema_url.partition("&schema")[0], autocommit=True) as other,
    ):
        running = asyncio.create_task(projector.run(batch=2, retry=FAST))
        while not running.done() and not await projector.position():
            await asyncio.sleep(0.01)
        while not running.done() and await _position(projector) < 2_000:
            found = await (await other.execute(cut)).fetchone()
            cuts += found[0] if found else 0
            await asyncio.sleep(0.02)
        projector.stop()
        await running
    assert cuts > 5, "connections: those of the runner, and of the one who asks for its position"
    assert effects(postgres_schema_url) == [(2_000, 2_000, 1)]


async def _position(projector: hw.Projector) -> int:
    try:
        return await projector.position()
    except hw.StoreUnavailable:
        return 0
