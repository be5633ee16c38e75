"""Handlers in the transaction of the append, on PostgreSQL; a runner beside it doubles nothing and misses nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

import headwater as hw
from headwater.testing.loans import loan
from tests.unit.projections.conftest import Effects, Submitted, rows


@pytest.fixture
def url(postgres_schema_url: str) -> str:
    return postgres_schema_url


@pytest.fixture
async def store(url: str) -> AsyncIterator[hw.EventStore]:
    async with hw.connect(url) as store:
        yield store


async def connected(url: str, **options: Any) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(url.rpartition("schema=")[0].rstrip("&?"), **options)


@pytest.mark.parametrize("options", [{}, {"row_factory": dict_row}, {"autocommit": True}])
async def test_rows_are_committed_with_the_events(store: hw.EventStore, url: str, options: dict[str, Any]) -> None:
    async with hw.Projector(store, Effects(), into=url) as projector, await connected(url, **options) as connection:
        bound = projector.inline(connection)
        async with connection.transaction():
            await bound.append("loan-1", loan(3))
            await bound.append("loan-1", loan(2))
            await bound.append_all([hw.Append("loan-1", loan(1)), hw.Append("loan-2", loan(1))])
            assert rows(url, "select count(*) from effects") == [(0,)]
        assert rows(url, "select count(*), max(times) from effects") == [(7, 1)]
        assert rows(url, "select steps, last_type from steps where loan = 'loan-1'") == [(6, "A_SUBMITTED")]
        async with connection.transaction():
            await bound.append("loan-1", loan(1))
            raise psycopg.Rollback
        assert rows(url, "select count(*) from effects") == [(7,)]
        stored = [event async for event in store.read("loan-1")]
        positions = rows(url, "select event, position from effects")
        assert {(str(event.id), event.position) for event in stored} <= set(positions), "as they are in the log"


async def test_a_blocking_connection(store: hw.EventStore, url: str) -> None:
    async with hw.Projector(store, Effects(), into=url) as projector:
        with psycopg.connect(url.rpartition("schema=")[0].rstrip("&?"), row_factory=dict_row) as connection:
            await projector.inline(connection).append("loan-1", loan(3))
    assert rows(url, "select count(*), max(times) from effects") == [(3, 1)]


async def test_a_runner_beside_it(store: hw.EventStore, url: str) -> None:
    async with (
        hw.Projector(store, Effects(), into=url) as projector,
        await connected(url, autocommit=True) as connection,
    ):
        bound = projector.inline(connection)
        await store.append("loan-old", loan(4))
        async with connection.transaction():
            await bound.append("loan-1", loan(3))
            with pytest.raises(hw.NotCaughtUp):
                await bound.append("loan-old", loan(1))  # its first events still wait for the runner
            raise psycopg.Rollback
        async with connection.transaction():
            await bound.append("loan-1", loan(3))
        async with projector.running(batch=2):
            await projector.wait_for(await store.append("loan-2", loan(2)))
            async with connection.transaction():
                done = await bound.append("loan-old", loan(2))
                retried = await bound.append("loan-2", events := loan(1))
                again = await bound.append("loan-2", events)
                assert again == hw.Appended(retried.version, retried.position, duplicate=True)
            assert rows(url, "select steps from steps where loan = 'loan-old'") == [(6,)], "at once"
            await projector.wait_for(done)
            await projector.wait_for(retried)
        assert rows(url, "select count(*), max(times), sum(times) from effects") == [(12, 1, 12)]
        assert rows(url, "select count(*) from headwater_inlined") == [(0,)], "the runner has taken the marks away"
        assert (await projector.versions())[0].count == 12


async def test_events_that_it_does_not_handle_leave_nothing(store: hw.EventStore, url: str) -> None:
    async with (
        hw.Projector(store, Submitted(), into=url) as projector,
        await connected(url, autocommit=True) as connection,
    ):
        bound = projector.inline(connection)
        async with connection.transaction():
            await bound.append("loan-1", loan(5))
            await bound.append("loan-1", loan(5, skip=1))
        assert rows(url, "select loan from submitted") == [("loan-1",)]
        assert rows(url, "select count(*) from headwater_inlined") == [(1,)]
        await projector.catch_up()
        assert rows(url, "select count(*) from headwater_inlined") == [(0,)]


async def test_a_handler_that_fails_leaves_nothing_of_its_work(store: hw.EventStore, url: str) -> None:
    class Failing(Effects):
        def happened(self, event: hw.Event, view: hw.View) -> None:
            super().happened(event, view)
            raise ValueError("not inline")

    async with (
        hw.Projector(store, Failing(), into=url) as projector,
        await connected(url, autocommit=True) as connection,
        connection.transaction(),
    ):
        with pytest.raises(ValueError, match="not inline"):
            await projector.inline(connection).append("loan-1", loan(2))
        (path,) = await (await connection.execute("show search_path")).fetchone() or ("",)
        assert url.rpartition("schema=")[2] not in path
    assert rows(url, "select count(*) from effects") == [(0,)]
    async with hw.Projector(store, Effects(), into=url) as corrected:
        await corrected.catch_up()
    assert rows(url, "select count(*), max(times) from effects") == [(2, 1)], "the runner handles what was appended"


async def test_where_it_cannot_be(store: hw.EventStore, url: str, tmp_path: object) -> None:
    async with (
        hw.connect(f"sqlite:///{tmp_path}/loans.db") as file,
        hw.Projector(file, Effects(), into=f"sqlite:///{tmp_path}/read.db") as projector,
    ):
        with pytest.raises(hw.NotSupported, match="wait_for"):
            projector.inline(object())
    async with hw.Projector(store, Effects(), into=f"sqlite:///{tmp_path}/read2.db") as projector:
        with pytest.raises(hw.NotSupported, match=r"read2\.db"):
            projector.inline(object())
    async with hw.Projector(store, Effects(), into=url) as projector, await connected(url) as connection:
        await projector.prepare()
        projector._target_id = "another"
        with pytest.raises(hw.InvalidProjection, match="another database"):
            await projector.inline(connection).append("loan-1", loan(1))
