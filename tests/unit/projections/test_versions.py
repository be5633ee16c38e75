"""A version built beside the one that serves, compared, switched to, and back."""

from __future__ import annotations

import asyncio

import pytest

import headwater as hw
from headwater.testing.loans import loan
from tests.unit.projections.conftest import Effects, rows
from tests.unit.projections.test_running import applications


class EffectsTwo(Effects):
    version = 2


class Corrected(Effects):
    """Version 2 with a column more, a table less, a row that is not there, one more, and one that differs."""

    version = 2
    tables = """
        create table {steps} (
            loan text primary key, steps bigint not null, last_type text,
            days bigint generated always as (steps * 2) stored
        )
    """

    @hw.handles()
    def happened(self, event: hw.Event, view: hw.View) -> None:
        if event.stream != "loan-1":
            loan = "loan-new" if event.stream == "loan-2" else event.stream
            view.execute(
                "insert into {steps} (loan, steps, last_type) values (:loan, :more, :type) "
                "on conflict (loan) do update set steps = {steps}.steps + :more, last_type = excluded.last_type",
                {"loan": loan, "more": 2 if event.stream == "loan-3" else 1, "type": event.type},
            )


async def test_built_beside_the_serving_one_then_switched_and_back(store: hw.EventStore, into: str) -> None:
    await applications(store, 40)
    told: list[hw.Building] = []
    async with (
        hw.Projector(store, Effects(), into=into) as first,
        hw.Projector(store, EffectsTwo(), into=into) as second,
    ):
        async with first.running():
            await first.wait_for(200)
            assert await second.rebuild(partitions=2, batch=20, on_progress=told.append) == 200
            assert [each.serving for each in await second.versions()] == [True, False]
            await first.wait_for(await store.append("loan-1", loan(1)))
            assert rows(into, "select count(*) from effects") == [(201,)], "version 1 serves meanwhile"
            assert rows(into, "select count(*) from effects_v2") == [(200,)]
            assert await second.switch() == 1, "which brings it up to version 1 first"
            assert rows(into, "select count(*), max(times) from effects") == [(201, 1)]
            assert (await first.compare()).same
        assert (told[-1].events, told[-1].position, told[-1].upto) == (200, 200, 200)
        await store.append("loan-1", loan(1))
        await second.catch_up()
        assert rows(into, "select count(*) from effects") == [(202,)]
        assert await first.switch(force=True) == 2
        assert rows(into, "select count(*) from effects") == [(201,)]
        assert await first.switch() == 1
        await second.drop()
        assert [each.version for each in await first.versions()] == [1]
        with pytest.raises(hw.TargetFailed):
            await asyncio.to_thread(_read_dropped, second)


def _read_dropped(projector: hw.Projector) -> None:
    with projector._target.transaction() as connection:
        connection.rows("select * from effects_v2")


async def test_what_differs_is_found_by_key(store: hw.EventStore, into: str) -> None:
    await applications(store, 5)
    async with (
        hw.Projector(store, Effects(), into=into) as first,
        hw.Projector(store, Corrected(), into=into) as second,
    ):
        await first.catch_up()
        with pytest.raises(hw.InvalidProjection, match="no other version"):
            await first.compare()
        await second.rebuild()
        found = await second.compare()
        assert (found.old, found.new, found.position_old, found.position_new) == (1, 2, 25, 25)
        assert (found.tables_only_old, found.tables_only_new) == (["effects"], [])
        (steps,) = found.tables
        assert (steps.rows_old, steps.rows_new) == (5, 4)
        assert (steps.only_old, steps.only_new, steps.changed) == (2, 1, 1)
        assert (steps.columns_only_old, steps.columns_only_new) == ([], ["days"])
        assert not found.same
        by_kind = {each.kind: each for each in steps.examples}
        assert by_kind["only_new"].key == {"loan": "loan-new"}
        assert by_kind["changed"].key == {"loan": "loan-3"}
        assert (by_kind["changed"].old["steps"], by_kind["changed"].new["steps"]) == (5, 10)
        assert by_kind["only_old"].old["steps"] == 5
        assert (await second.compare(examples=1)).tables[0].only_old == 2
        await second.switch()
        assert rows(into, "select days from steps where loan = 'loan-0'") == [(10,)], "readers see the new column"
        with pytest.raises(Exception, match=r"(?i)effects"):
            rows(into, "select * from effects")
        await first.switch()
        assert rows(into, "select count(*) from effects") == [(25,)]


async def test_a_build_that_failed_goes_on_where_it_was(store: hw.EventStore, into: str) -> None:
    class Failing(EffectsTwo):
        def happened(self, event: hw.Event, view: hw.View) -> None:
            super().happened(event, view)
            if event.position == 33:
                raise ValueError("not this one")

    await applications(store, 10)
    async with hw.Projector(store, Effects(), into=into) as first:
        await first.catch_up()
    async with hw.Projector(store, Failing(), into=into) as second:
        with pytest.raises(ValueError, match="not this one"):
            await second.rebuild(batch=4)
        assert await second.position() == 32
        await second.switch(force=True)
        with pytest.raises(hw.InvalidProjection, match="serves"):
            await second.rebuild()
        await first.switch(force=True)
    async with hw.Projector(store, EffectsTwo(), into=into) as second:
        told: list[hw.Building] = []
        await second.rebuild(partitions=1, on_progress=told.append)
        assert told[-1].events == 18
        assert (await second.compare()).same
        await second.rebuild(fresh=True, partitions=3, on_progress=told.append)
        assert told[-1].events == 50
        assert (await second.compare()).same


async def test_a_version_does_not_change(store: hw.EventStore, into: str) -> None:
    class Changed(Effects):
        tables = Effects.tables.replace("last_type text not null", "last_type text")

    class Narrowed(Effects):
        query = hw.Query([hw.QueryItem(types=["A_SUBMITTED"])])

    async with hw.Projector(store, Effects(), into=into) as first:
        await first.prepare()
        for kind in (Changed, Narrowed):
            async with hw.Projector(store, kind(), into=into) as changed:
                with pytest.raises(hw.InvalidProjection, match="version = 2"):
                    await changed.run()
        with pytest.raises(hw.InvalidProjection, match="version = 2"):
            await first.rebuild(fresh=True)
        with pytest.raises(hw.InvalidProjection, match="can't be dropped"):
            await first.drop()


async def test_a_switch_does_not_overtake(store: hw.EventStore, into: str) -> None:
    """Version 1 handles an event whenever version 2 thinks that it has caught up."""

    class Overtaken(EffectsTwo):
        pass

    await applications(store, 2)
    async with (
        hw.Projector(store, Effects(), into=into) as first,
        hw.Projector(store, Overtaken(), into=into) as second,
    ):
        await first.catch_up()
        await second.rebuild()
        catch_up = second.catch_up

        async def late(**options: object) -> int:
            position = await catch_up()
            await store.append("loan-1", loan(1))
            await first.catch_up()
            return position

        second.catch_up = late  # type: ignore[method-assign]
        with pytest.raises(hw.NotCaughtUp):
            await second.switch()
        assert [each.serving for each in await first.versions()] == [True, False]
        second.catch_up = catch_up  # type: ignore[method-assign]
        assert await second.switch() == 1


async def test_views_of_readers_survive_a_switch_on_postgresql(store: hw.EventStore, postgres_schema_url: str) -> None:
    """The plain name is replaced in place where it has the same columns, so what stands on it stays."""
    await applications(store, 2)
    async with (
        hw.Projector(store, Effects(), into=postgres_schema_url) as first,
        hw.Projector(store, EffectsTwo(), into=postgres_schema_url) as second,
    ):
        await first.catch_up()
        with first._target.transaction() as connection:
            connection.execute("create view long_loans as select * from steps where steps > 4")
        await second.rebuild()
        await second.switch()
        await store.append("loan-1", loan(1))
        await second.catch_up()
        assert rows(postgres_schema_url, "select max(steps) from long_loans") == [(6,)]


async def test_a_store_without_events_is_caught_up_with(store: hw.EventStore, into: str) -> None:
    async with hw.Projector(store, Effects(), into=into) as first:
        assert await first.catch_up() == 0
        await applications(store, 1)
        assert await first.catch_up() == await store.head()
