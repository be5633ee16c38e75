"""Appends inside the caller's own transaction: there with its commit, gone with its rollback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from tests.unit.backends.postgres.conftest import Connection

import headwater as hw


@pytest.fixture
async def store(postgres_schema_url: str) -> AsyncIterator[hw.EventStore]:
    async with hw.connect(postgres_schema_url) as store:
        yield store


@pytest.fixture
async def caller(postgres_url: str, store: hw.EventStore, schema: str) -> AsyncIterator[Connection]:
    """A connection of the caller's, to a database with a table of the caller's."""
    connection = await psycopg.AsyncConnection.connect(postgres_url)
    await connection.execute(f"CREATE TABLE {schema}.balances (loan text PRIMARY KEY, amount int)")
    await connection.commit()
    yield connection
    await connection.close()


def submitted() -> hw.NewEvent:
    return hw.NewEvent("A_SUBMITTED", {"amount": 20000}, tags=["applicant:112"])


async def loans(store: hw.EventStore) -> list[str | None]:
    return [event.stream async for event in store.read_all()]


async def balances(caller: Connection, schema: str) -> int:
    row = await (await caller.execute(f"SELECT count(*) FROM {schema}.balances")).fetchone()
    assert row is not None
    return int(row[0])


async def test_a_commit_stores_event_and_row_together(store: hw.EventStore, caller: Connection, schema: str) -> None:
    async with caller.transaction():
        await caller.execute(f"INSERT INTO {schema}.balances VALUES ('loan-1', 20000)")
        done = await store.bind(caller).append("loan-1", submitted(), expected=hw.NO_STREAM)
        assert await loans(store) == []
    assert done.version == 1
    assert await loans(store) == ["loan-1"]
    assert await balances(caller, schema) == 1


async def test_a_rollback_leaves_neither(store: hw.EventStore, caller: Connection, schema: str) -> None:
    await caller.execute(f"INSERT INTO {schema}.balances VALUES ('loan-1', 20000)")
    await store.bind(caller).append("loan-1", submitted())
    await caller.rollback()
    assert await loans(store) == []
    assert await store.stream("loan-1") is None
    assert await balances(caller, schema) == 0


async def test_a_refusal_leaves_the_transaction_usable(store: hw.EventStore, caller: Connection, schema: str) -> None:
    event = submitted()
    await store.append("loan-1", event)
    bound = store.bind(caller)
    condition = hw.AppendCondition(hw.Query([hw.QueryItem(tags=["applicant:112"])]))
    async with caller.transaction():
        with pytest.raises(hw.WrongExpectedVersion):
            await bound.append("loan-1", submitted(), expected=hw.NO_STREAM)
        with pytest.raises(hw.WrongExpectedVersion):
            await bound.append_all([hw.Append("loan-2", [submitted()]), hw.Append("loan-1", [submitted()], 7)])
        with pytest.raises(hw.AppendConditionFailed):
            await bound.append("loan-2", submitted(), condition=condition)
        assert (await bound.append("loan-1", event)).duplicate
        await caller.execute(f"INSERT INTO {schema}.balances VALUES ('loan-1', 20000)")
        assert (await bound.append("loan-1", submitted(), expected=1)).version == 2
    assert await loans(store) == ["loan-1", "loan-1"]
    assert await balances(caller, schema) == 1


async def test_an_open_transaction_holds_back_readers_of_the_log_but_not_of_streams(
    store: hw.EventStore, caller: Connection
) -> None:
    await store.append("loan-1", submitted())
    await store.bind(caller).append("loan-2", submitted())
    await store.append("loan-3", submitted())
    assert await loans(store) == ["loan-1"]
    assert [event.version async for event in store.read("loan-3")] == [1]
    await caller.commit()
    assert await loans(store) == ["loan-1", "loan-2", "loan-3"]


async def test_a_blocking_connection_can_be_bound_too(store: hw.EventStore, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as caller:
        assert (await store.bind(caller).append("loan-1", submitted())).version == 1
        assert await loans(store) == []
        caller.commit()
        assert await loans(store) == ["loan-1"]


@pytest.mark.parametrize("blocking", [False, True])
async def test_the_callers_cursors_may_put_values_into_statements(
    store: hw.EventStore, postgres_url: str, blocking: bool
) -> None:
    """As Django's do. A refusal asks more of the connection than an append that succeeds."""
    await store.append("loan-1", submitted())
    if blocking:
        with psycopg.connect(postgres_url, cursor_factory=psycopg.ClientCursor) as caller:
            with pytest.raises(hw.WrongExpectedVersion):
                await store.bind(caller).append("loan-1", submitted(), expected=7)
            await store.bind(caller).append("loan-1", submitted(), expected=1)
    else:
        kind = psycopg.AsyncClientCursor
        async with await psycopg.AsyncConnection.connect(postgres_url, cursor_factory=kind) as waiting:
            with pytest.raises(hw.WrongExpectedVersion):
                await store.bind(waiting).append("loan-1", submitted(), expected=7)
            await store.bind(waiting).append("loan-1", submitted(), expected=1)
    assert await loans(store) == ["loan-1", "loan-1"]


async def test_a_condition_needs_read_committed(store: hw.EventStore, caller: Connection) -> None:
    await caller.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
    condition = hw.AppendCondition(hw.Query([hw.QueryItem(tags=["applicant:112"])]))
    with pytest.raises(hw.StoreUnavailable, match="READ COMMITTED"):
        await store.bind(caller).append("loan-1", submitted(), condition=condition)


async def test_what_can_not_be_bound_is_refused(store: hw.EventStore, postgres_url: str) -> None:
    with pytest.raises(hw.InvalidEvent, match=r"AsyncConnection or psycopg\.Connection"):
        store.bind(object())
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as caller:
        with pytest.raises(hw.InvalidEvent, match="no open transaction"):
            await store.bind(caller).append("loan-1", submitted())
    async with await psycopg.AsyncConnection.connect(postgres_url) as caller:
        with pytest.raises(psycopg.errors.DivisionByZero):
            await caller.execute("SELECT 1 / 0")
        with pytest.raises(hw.InvalidEvent, match="has failed"):
            await store.bind(caller).append("loan-1", submitted())


async def test_two_transactions_with_the_same_id_do_not_both_store_it(
    store: hw.EventStore, caller: Connection, postgres_url: str
) -> None:
    event = submitted()
    await store.bind(caller).append("loan-1", event)
    async with await psycopg.AsyncConnection.connect(postgres_url) as other:
        waiting = asyncio.create_task(store.bind(other).append("loan-2", event))
        await asyncio.sleep(0)
        await caller.commit()
        with pytest.raises((hw.StoreUnavailable, hw.DuplicateEvent)):
            await waiting
    assert await loans(store) == ["loan-1"]
