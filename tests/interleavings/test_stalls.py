"""The store's own functions, stalled in the middle by locks that a test holds, while others append and read."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

import headwater as hw
from headwater.events import uuid7

Connection = psycopg.AsyncConnection[Any]


@asynccontextmanager
async def transaction(url: str) -> AsyncIterator[Connection]:
    """An open transaction of somebody else's; rolled back at the end."""
    connection = await psycopg.AsyncConnection.connect(url)
    try:
        yield connection
    finally:
        await connection.rollback()
        await connection.close()


def schema_of(url: str) -> str:
    return url.rpartition("schema=")[2]


async def stalled(url: str, *, count: int = 1) -> list[int]:
    """The processes that wait for a lock in an append to this schema, once there are so many."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND state = 'active' "
        f"AND query LIKE '%{schema_of(url)}%append%' AND pid <> pg_backend_pid()"
    )
    async with await psycopg.AsyncConnection.connect(url.rpartition("schema=")[0][:-1], autocommit=True) as looking:
        while True:
            pids = [pid for (pid,) in await (await looking.execute(query)).fetchall()]
            if len(pids) >= count:
                return pids
            await asyncio.sleep(0.002)


async def loans(store: hw.EventStore, *, after: int = 0) -> list[str | None]:
    return [event.stream async for event in store.read_all(after=after)]


async def append(store: hw.EventStore, stream: str, **options: Any) -> Any:
    return await store.append(stream, [hw.NewEvent("A_SUBMITTED", {"amount": 20000})], **options)


async def test_a_writer_that_stalls_before_it_draws_holds_readers_back(
    postgres_url: str, postgres_schema_url: str
) -> None:
    async with hw.connect(postgres_schema_url) as store, hw.connect(postgres_schema_url) as other:
        await append(store, "loan-173688")
        async with transaction(postgres_url) as holder:
            head = f"SELECT FROM {schema_of(postgres_schema_url)}.streams WHERE name = 'loan-173688' FOR UPDATE"
            await holder.execute(head)
            slow = asyncio.create_task(append(store, "loan-173688"))
            await stalled(postgres_schema_url)
            quick = await append(other, "loan-173691")
            assert await loans(other) == ["loan-173688"]
            assert await other.head() < quick.position
            assert not await other.wait(quick.position - 1, timeout=0.05)
        done = await slow
        assert quick.position < done.position  # the slow one had not drawn yet
        assert await loans(other) == ["loan-173688", "loan-173691", "loan-173688"]


async def test_a_writer_that_stalls_after_it_has_drawn_is_not_passed(
    postgres_url: str, postgres_schema_url: str
) -> None:
    id = uuid7()
    async with hw.connect(postgres_schema_url) as store, hw.connect(postgres_schema_url) as other:
        async with transaction(postgres_url) as holder:
            await holder.execute(
                f"INSERT INTO {schema_of(postgres_schema_url)}.events (position, version, id, type, content_type, "
                "recorded_us) VALUES (9000000000, 0, %s, 'A_SUBMITTED', 'application/json', 0)",
                (id,),
            )
            slow = asyncio.create_task(store.append("loan-173688", hw.NewEvent("A_SUBMITTED", {}, id=id)))
            await stalled(postgres_schema_url)
            quick = await append(other, "loan-173691")
            assert await loans(other) == []  # the naive `position > last` would hand out loan-173691 here
        done = await slow
        assert done.position < quick.position
        assert await loans(other) == ["loan-173688", "loan-173691"]


async def test_a_writer_that_is_killed_while_it_stalls_lets_readers_go_on(
    postgres_url: str, postgres_schema_url: str
) -> None:
    """The store sends the killed append again: its ids say that it was not stored."""
    async with hw.connect(postgres_schema_url) as store, hw.connect(postgres_schema_url) as other:
        await append(store, "loan-173688")
        async with transaction(postgres_url) as holder:
            head = f"SELECT FROM {schema_of(postgres_schema_url)}.streams WHERE name = 'loan-173688' FOR UPDATE"
            await holder.execute(head)
            slow = asyncio.create_task(append(store, "loan-173688", expected=1))
            (pid,) = await stalled(postgres_schema_url)
            quick = await append(other, "loan-173691")
            async with transaction(postgres_url) as killer:
                await killer.execute("SELECT pg_terminate_backend(%s)", (pid,))
            (again,) = await stalled(postgres_schema_url)
            assert again != pid
        assert (await slow).version == 2
        assert (await loans(other))[:2] == ["loan-173688", "loan-173691"]
        assert await loans(other, after=quick.position) == ["loan-173688"]


async def test_transactions_that_do_not_append_hold_nobody_back(postgres_url: str, postgres_schema_url: str) -> None:
    """A long transaction on another table, and another database that holds the very same lock."""
    schema, database = schema_of(postgres_schema_url), f"other_{uuid.uuid4().hex}"
    admin = await psycopg.AsyncConnection.connect(postgres_url, autocommit=True)
    await admin.execute(f"CREATE DATABASE {database}")
    try:
        async with hw.connect(postgres_schema_url) as store:
            await append(store, "loan-173688")
            row = await (await admin.execute(f"SELECT '{schema}.positions'::regclass::oid::int4")).fetchone()
            assert row is not None
            elsewhere = psycopg.conninfo.make_conninfo(postgres_url, dbname=database)
            async with transaction(postgres_url) as working, transaction(elsewhere) as far:
                await working.execute("CREATE TEMPORARY TABLE loans_worked_on AS SELECT txid_current()")
                await working.execute(f"SELECT count(*) FROM {schema}.events")
                await far.execute("SELECT pg_advisory_xact_lock_shared(%s::int4, 0)", (row[0],))
                await append(store, "loan-173691")
                assert await loans(store) == ["loan-173688", "loan-173691"]
    finally:
        await admin.execute(f"DROP DATABASE {database} WITH (FORCE)")
        await admin.close()


async def test_a_stalled_writer_of_another_store_holds_nobody_back(postgres_url: str, postgres_schema_url: str) -> None:
    neighbour = postgres_schema_url + "_neighbour"
    try:
        async with (
            hw.connect(postgres_schema_url) as store,
            hw.connect(neighbour) as other,
            transaction(postgres_url) as holder,
        ):
            await other.bind(holder).append("loan-173688", hw.NewEvent("A_SUBMITTED", {}))
            await append(store, "loan-173691")
            await append(other, "loan-173694")
            assert await loans(store) == ["loan-173691"]
            assert await loans(other) == []
    finally:
        async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as admin:
            await admin.execute(f"DROP SCHEMA {schema_of(neighbour)} CASCADE")


async def test_conditional_writers_wait_for_the_others_and_see_what_they_did(
    postgres_url: str, postgres_schema_url: str
) -> None:
    """A conditional append must not pass a writer that is under way: its condition would overlook it."""
    applicant = hw.Query([hw.QueryItem(tags=["applicant:112"])])
    event = hw.NewEvent("A_SUBMITTED", {}, tags=["applicant:112"])
    async with hw.connect(postgres_schema_url) as store, hw.connect(postgres_schema_url) as other:
        await append(store, "loan-173688")
        async with transaction(postgres_url) as holder:
            head = f"SELECT FROM {schema_of(postgres_schema_url)}.streams WHERE name = 'loan-173688' FOR UPDATE"
            await holder.execute(head)
            slow = asyncio.create_task(store.append("loan-173688", event))
            await stalled(postgres_schema_url)
            careful = asyncio.create_task(append(other, "loan-173691", condition=hw.AppendCondition(applicant)))
            await stalled(postgres_schema_url, count=2)
        done = await slow
        with pytest.raises(hw.AppendConditionFailed) as refused:
            await careful
        assert refused.value.position == done.position
