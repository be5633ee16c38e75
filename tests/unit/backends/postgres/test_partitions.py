"""A log partitioned by position: room is made ahead, reads cross partitions, and old partitions can go."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.backends.postgres.conftest import Connection

import headwater as hw


@pytest.fixture
def partitioned_url(postgres_schema_url: str) -> str:
    return f"{postgres_schema_url}&partition=1000"


async def partitions(admin: Connection, schema: str) -> list[str]:
    query = (
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        f"WHERE i.inhparent = '{schema}.events'::regclass ORDER BY substring(c.relname FROM 8)::int"
    )
    return [name for (name,) in await (await admin.execute(query)).fetchall()]


def loans(count: int) -> list[hw.NewEvent]:
    return [hw.NewEvent("A_SUBMITTED", {"n": n}, tags=[f"applicant:{n % 7}"]) for n in range(count)]


async def test_room_is_there_from_the_start(partitioned_url: str, admin: Connection, schema: str) -> None:
    async with hw.connect(partitioned_url):
        assert await partitions(admin, schema) == ["events_0", "events_1000"]


async def test_appends_larger_than_the_room_make_room(partitioned_url: str, admin: Connection, schema: str) -> None:
    async with hw.connect(partitioned_url) as store:
        await store.append("loan-1", loans(5300))
        await asyncio.gather(*[store.append(f"loan-{n}", loans(400)) for n in range(2, 12)])
        assert [event.version async for event in store.read("loan-1")] == [*range(1, 5301)]
        query = hw.Query([hw.QueryItem(tags=["applicant:3"])])
        tagged = [event.position async for event in store.read_all(query=query)]
        assert tagged == sorted(tagged)
        assert len(tagged) == sum(n % 7 == 3 for n in range(5300)) + 10 * sum(n % 7 == 3 for n in range(400))
        assert (await store.head()) // 1000 < len(await partitions(admin, schema))


async def test_an_old_partition_can_be_detached(partitioned_url: str, admin: Connection, schema: str) -> None:
    """What is left goes on as before; a retry of what has gone is still no second event."""
    first = loans(1200)
    async with hw.connect(partitioned_url) as store:
        await store.append("loan-1", first)
        await store.append("loan-2", loans(300))
        await admin.execute(f"ALTER TABLE {schema}.events DETACH PARTITION {schema}.events_0 CONCURRENTLY")
        assert [event.version async for event in store.read("loan-1")] == [*range(1000, 1201)]
        assert (await store.append("loan-1", loans(1), expected=1200)).version == 1201
        query = hw.Query([hw.QueryItem(streams=["loan-1"])])
        assert [event.version async for event in store.read_all(query=query)] == [*range(1000, 1202)]
        with pytest.raises(hw.DuplicateEvent):
            await store.append("loan-3", first[:1])
    async with hw.connect(partitioned_url) as store:
        assert (await store.append("loan-4", loans(1))).version == 1


async def test_a_partitioned_store_is_recognised_without_being_told(
    partitioned_url: str, postgres_schema_url: str
) -> None:
    async with hw.connect(partitioned_url) as store:
        done = await store.append("loan-1", (event := loans(1)[0]))
    async with hw.connect(postgres_schema_url) as store:
        assert await store.append("loan-1", event) == hw.Appended(1, done.position, duplicate=True)
        found = await store.event(event.id)
        assert found is not None
        assert found.position == done.position
