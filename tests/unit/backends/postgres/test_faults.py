"""What can go wrong between us and the server, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import errors
from tests.unit.backends.postgres.conftest import Connection, Wire

import headwater as hw
from headwater.backends.postgres import appender, connections
from headwater.backends.postgres.connections import Connections
from headwater.backends.postgres.faults import Fault, fault_of, translated
from headwater.backends.postgres.url import parse

TARGET = parse("postgresql://ada:s3cret@db.example/loans")


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (errors.AdminShutdown(), Fault.LOST),
        (errors.CannotConnectNow(), Fault.LOST),
        (errors.ConnectionFailure(), Fault.LOST),
        (errors.SerializationFailure(), Fault.RACE),
        (errors.DeadlockDetected(), Fault.RACE),
        (errors.UniqueViolation(), Fault.RACE),
        (errors.UntranslatableCharacter(), Fault.DATA),
        (errors.NumericValueOutOfRange(), Fault.DATA),
        (errors.CheckViolation(), Fault.ROOM),
        (errors.DiskFull(), Fault.FINAL),
        (psycopg.OperationalError("the connection is lost"), Fault.FINAL),
    ],
)
def test_kinds_of_failure(error: psycopg.Error, fault: Fault) -> None:
    assert fault_of(error) is fault


def test_an_error_without_a_code_on_a_closed_connection_is_a_lost_connection() -> None:
    assert fault_of(psycopg.OperationalError("server closed the connection"), closed=True) is Fault.LOST


@pytest.mark.parametrize(
    ("error", "remedy", "transient"),
    [
        (errors.TooManyConnections(), "max_connections", True),
        (errors.DiskFull(), "disk", True),
        (errors.InsufficientPrivilege(), "Grant", False),
        (errors.InvalidPassword(), "password", False),
        (errors.InvalidCatalogName(), "createdb", False),
        (errors.QueryCanceled(), "statement_timeout", True),
    ],
)
def test_errors_say_what_to_do(error: psycopg.Error, remedy: str, transient: bool) -> None:
    ours = translated(error, TARGET)
    assert isinstance(ours, hw.StoreUnavailable)
    assert remedy in ours.remedy
    assert ours.transient is transient
    assert error.sqlstate is not None
    assert error.sqlstate in str(ours)


def test_damage_is_a_corrupt_store() -> None:
    assert isinstance(translated(errors.DataCorrupted(), TARGET), hw.CorruptStore)


async def test_no_server_is_said_at_once_and_without_the_password() -> None:
    with pytest.raises(hw.StoreUnavailable) as refused:
        await hw.connect("postgresql://ada:s3cret@127.0.0.1:1/loans")
    assert "127.0.0.1" in str(refused.value)
    assert "s3cret" not in str(refused.value)


async def test_killed_connections_are_replaced(postgres_schema_url: str, admin: Connection, schema: str) -> None:
    """Appends and reads of every kind go on when the server has dropped all connections."""
    named = f"{postgres_schema_url}&application_name={schema}"
    kill = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = '{schema}'"
    async with hw.connect(named) as store:
        for n in range(3):
            event = hw.NewEvent("A_SUBMITTED", {"n": n})
            assert (await store.append("loan-173688", event)).version == n + 1
            await admin.execute(kill)
            assert (await store.append("loan-173688", event)).duplicate
            await admin.execute(kill)
            assert len([each async for each in store.read_all()]) == n + 1
            await admin.execute(kill)
            await store.delete_stream("loan-173688")


@pytest.mark.parametrize("count", [1, 2], ids=["one event", "more events"])
async def test_an_append_whose_answer_is_lost_is_found_by_its_ids(
    wired_url: str, wire: Wire, admin: Connection, schema: str, until: Callable[..., Any], count: int
) -> None:
    async with hw.connect(wired_url) as store:
        await store.append("loan-173688", [hw.NewEvent("A_SUBMITTED", {}) for _ in range(count)], expected=0)
        wire.deaf = True
        events = [hw.NewEvent("A_APPROVED", {}) for _ in range(count)]
        appending = asyncio.create_task(store.append("loan-173688", events, expected=count))
        await until(lambda: stored(admin, schema, "loan-173688", "A_APPROVED"))
        wire.cut()
        done = await appending
        assert done.duplicate  # the first call had stored it
        assert [event.id async for event in store.read("loan-173688", after=count)] == [event.id for event in events]


async def stored(admin: Connection, schema: str, stream: str, kind: str) -> bool:
    query = f"SELECT EXISTS (SELECT FROM {schema}.events WHERE stream = %s AND type = %s)"
    row = await (await admin.execute(query, (stream, kind))).fetchone()
    return row == (True,)


async def test_an_outcome_that_nobody_can_tell_is_said_to_be_unknown(
    wired_url: str,
    wire: Wire,
    admin: Connection,
    schema: str,
    until: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (appender, connections):
        monkeypatch.setattr(module, "PATIENCE", 0.3)
    async with hw.connect(wired_url) as store:
        await store.append("loan-173688", hw.NewEvent("A_SUBMITTED", {}))
        wire.deaf = True  # the statement is prepared by now, so it goes out in one message
        event = hw.NewEvent("A_APPROVED", {})
        appending = asyncio.create_task(store.append("loan-173688", event))
        await until(lambda: stored(admin, schema, "loan-173688", "A_APPROVED"))
        wire.down = True
        wire.cut()
        with pytest.raises(hw.OutcomeUnknown) as unknown:
            await appending
        assert unknown.value.ids == (event.id,)
        assert "s3cret" not in str(unknown.value)
        with pytest.raises(hw.StoreUnavailable):  # this one was never sent
            await store.append("loan-173691", hw.NewEvent("A_SUBMITTED", {}))
        wire.down = False
        await until(lambda: answers(store))
        assert (await store.append("loan-173688", event)).duplicate


async def answers(store: hw.EventStore) -> bool:
    try:
        await store.head()
    except hw.StoreUnavailable:
        return False
    return True


async def test_a_deadlock_is_resolved_by_sending_again(
    postgres_schema_url: str, postgres_url: str, admin: Connection, schema: str, until: Callable[..., Any]
) -> None:
    lock = f"SELECT FROM {schema}.streams WHERE name = %s FOR UPDATE"

    async def waits() -> bool:
        query = (
            f"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{schema}%append%'"
        )
        return await (await admin.execute(query)).fetchone() != (0,)

    async with hw.connect(postgres_schema_url) as store:
        for stream in ("loan-1", "loan-2"):
            await store.append(stream, hw.NewEvent("A_SUBMITTED", {}))
        other = await psycopg.AsyncConnection.connect(postgres_url)
        await other.execute("SET deadlock_timeout = '20s'")  # so that it is ours that PostgreSQL fails
        await other.execute(lock, ("loan-2",))
        appends = [hw.Append(stream, [hw.NewEvent("A_APPROVED", {})], 1) for stream in ("loan-2", "loan-1")]
        appending = asyncio.create_task(store.append_all(appends))
        await until(waits)
        await other.execute(lock, ("loan-1",))  # answers once ours has failed
        await other.rollback()
        await other.close()
        assert [done.version for done in await appending] == [2, 2]


async def test_a_cancelled_append_costs_its_neighbours_nothing(postgres_schema_url: str) -> None:
    async with hw.connect(postgres_schema_url) as store:
        appending = [asyncio.create_task(store.append(f"loan-{n}", hw.NewEvent("A_SUBMITTED", {}))) for n in range(40)]
        await asyncio.sleep(0)
        for task in appending[::3]:
            task.cancel()
        done = await asyncio.gather(*appending, return_exceptions=True)
        assert all(isinstance(done[n], asyncio.CancelledError if n % 3 == 0 else hw.Appended) for n in range(40))
        for n in range(0, 40, 3):
            await store.append(f"loan-{n}", hw.NewEvent("A_SUBMITTED", {}))
        assert {info.name async for info in store.streams()} == {f"loan-{n}" for n in range(40)}


async def test_an_append_that_is_cancelled_while_it_stalls_gives_its_place_free(
    postgres_schema_url: str, postgres_url: str, admin: Connection, schema: str, until: Callable[..., Any]
) -> None:
    """Both of the store's senders: what others append meanwhile is not kept waiting for ever."""

    async def waiters() -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
        row = await (await admin.execute(query, (f"%{schema}%append%",))).fetchone()
        assert row is not None
        return int(row[0])

    async def both_wait() -> bool:
        return await waiters() == 2

    async def one_waits() -> bool:
        return await waiters() == 1

    async with hw.connect(postgres_schema_url) as store:
        for stream in ("loan-1", "loan-2"):
            await store.append(stream, hw.NewEvent("A_SUBMITTED", {}))
        async with await psycopg.AsyncConnection.connect(postgres_url) as holder:
            await holder.execute(f"SELECT FROM {schema}.streams FOR UPDATE")
            lone, other = (
                asyncio.create_task(store.append(stream, hw.NewEvent("A_APPROVED", {}), expected=1))
                for stream in ("loan-1", "loan-2")
            )
            await until(both_wait)
            waiting = asyncio.create_task(store.append("loan-3", hw.NewEvent("A_SUBMITTED", {})))
            lone.cancel()
            assert (await waiting).version == 1  # though the other sender still waits for loan-2
            await until(one_waits)
            await holder.rollback()
        assert (await other).version == 2
        with pytest.raises(asyncio.CancelledError):
            await lone
        done = await store.append("loan-1", hw.NewEvent("A_ACCEPTED", {}))
        assert done.version == 2  # the server was told to stop


async def test_no_cancellation_is_lost(postgres_url: str) -> None:
    """Whoever is cancelled while he waits for a connection is, though one be handed to him at that very moment."""
    pool = Connections(parse(f"{postgres_url}{'&' if '?' in postgres_url else '?'}pool=2"))
    await pool.open()
    held = [await pool.take(), await pool.take()]
    for steps in range(60):
        waiting = asyncio.create_task(pool.take())
        await asyncio.sleep(0.002)
        await pool.give_back(held.pop())
        for _ in range(steps):
            await asyncio.sleep(0)
        if waiting.cancel():
            with pytest.raises(asyncio.CancelledError):
                await waiting
            held.append(await pool.take())
        else:
            held.append(await waiting)
    for connection in held:
        await pool.give_back(connection)
    await pool.close()


async def test_close_waits_for_what_was_given_and_takes_no_more(postgres_schema_url: str) -> None:
    store = await hw.connect(postgres_schema_url)
    appending = [asyncio.create_task(store.append(f"loan-{n}", hw.NewEvent("A_SUBMITTED", {}))) for n in range(40)]
    await asyncio.sleep(0)
    await store.close()
    await store.close()
    assert len(await asyncio.gather(*appending)) == 40
    with pytest.raises(hw.StoreUnavailable, match="closed"):
        await store.append("loan-41", hw.NewEvent("A_SUBMITTED", {}))
    with pytest.raises(hw.StoreUnavailable, match="closed"):
        await store.head()
