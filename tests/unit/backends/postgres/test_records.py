"""Records where connections break, and in schemas of the first version."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.unit.backends.postgres.conftest import Connection, Wire

import headwater as hw
from headwater.backend import RecordChange
from headwater.backends.postgres import schema as schemas
from headwater.backends.postgres.statements import statements_of

PART, ABOUT = "consumers/billing/parts/00000", "consumers/billing/about"


async def make_schema_1(admin: Connection, schema: str) -> None:
    """A store as the first version made it, with one event."""
    await admin.execute(f"CREATE SCHEMA {schema}")
    moves = schemas._steps_from(schema, 1)
    assert moves
    for step in schemas._steps(schema, None)[: -len(moves)]:
        await admin.execute(step)
    await admin.execute(statements_of(schema, False)["save_meta"], (1, None))
    await admin.execute(
        f"SELECT {schema}.append_one_v1(false, 'loan-173688', -1, gen_random_uuid(), 'A_SUBMITTED',"
        " '{\"amount\": 20000}', NULL, 'applicant:112', NULL)"
    )


@pytest.fixture
async def schema_1(admin: Connection, schema: str, postgres_schema_url: str) -> str:
    """The URL of a store as the first version made it."""
    await make_schema_1(admin, schema)
    return postgres_schema_url


@pytest.fixture
async def reader_role(admin: Connection, schema: str) -> AsyncIterator[str]:
    """A role that may use the tables of any store, and make none. Gone after the test."""
    role = f"r_{schema}"
    await admin.execute(f"CREATE ROLE {role}")
    await admin.execute(f"GRANT pg_read_all_data, pg_write_all_data TO {role}")
    yield role
    await admin.execute(f"DROP OWNED BY {role}")
    await admin.execute(f"DROP ROLE {role}")


async def version_of(admin: Connection, schema: str) -> int:
    row = await (await admin.execute(f"SELECT schema_version FROM {schema}.meta")).fetchone()
    assert row is not None
    return int(row[0])


async def test_a_schema_1_is_moved_forward_by_one_of_several_openers(
    schema_1: str, admin: Connection, schema: str
) -> None:
    stores = await asyncio.gather(*[hw.connect(schema_1) for _ in range(4)])
    assert len({store.identity for store in stores}) == 1
    for number, store in enumerate(stores):
        events = [event async for event in store.read("loan-173688")]
        assert [event.data for event in events] == [{"amount": 20000}] * (1 + number)
        (revision,) = await store._backend.save_records([RecordChange(f"{PART}{number}", b"{}", 0)])
        assert [each.revision for each in await store._backend.load_records(f"{PART}{number}")] == [revision]
        assert (await store.append("loan-173688", hw.NewEvent("W_VALIDATE", {"amount": 20000}))).version == number + 2
        await store.close()
    assert await version_of(admin, schema) == 2


async def test_with_create_no_a_schema_1_stays_as_it_is(schema_1: str, admin: Connection, schema: str) -> None:
    async with hw.connect(f"{schema_1}&create=no") as store:
        assert [event.type async for event in store.read_all()] == ["A_SUBMITTED"]
        assert await store._backend.load_records("") == []
        with pytest.raises(hw.StoreUnavailable, match=r"schema 1.*create=no"):
            await store._backend.save_records([RecordChange(PART, b"{}")])
        assert await version_of(admin, schema) == 1
        await (await hw.connect(schema_1)).close()
        assert len(await store._backend.save_records([RecordChange(PART, b"{}")])) == 1  # without opening it again


async def test_a_role_that_may_not_move_a_schema_goes_on_with_it(
    schema_1: str, admin: Connection, schema: str, reader_role: str
) -> None:
    """A program with few rights is upgraded before the schema is: its appends and reads go on."""
    await admin.execute(f"GRANT USAGE ON SCHEMA {schema} TO {reader_role}")
    await admin.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO {reader_role}")
    async with hw.connect(f"{schema_1}&options=-c%20role%3D{reader_role}") as store:
        assert (await store.append("loan-173688", hw.NewEvent("A_ACCEPTED", {}))).version == 2
        with pytest.raises(hw.StoreUnavailable, match="owner of the schema"):
            await store._backend.save_records([RecordChange(PART, b"{}")])
    assert await version_of(admin, schema) == 1


async def saved(admin: Connection, schema: str, value: bytes) -> bool:
    row = await admin.execute(f"SELECT EXISTS (SELECT FROM {schema}.records WHERE value = %s)", (value,))
    return await row.fetchone() == (True,)


@pytest.fixture
async def broken_saving(
    wired_url: str, wire: Wire, admin: Connection, schema: str, until: Callable[..., Any]
) -> AsyncIterator[tuple[hw.EventStore, asyncio.Task[list[int]]]]:
    """A store, and its saving of records whose answer never came: one is changed, one made, one removed."""
    async with hw.connect(wired_url) as store:
        backend = store._backend
        for _ in range(4):  # the pool hands its connections out in turn: now the statement is prepared on each of them
            first = await backend.save_records([RecordChange(ABOUT, b"old"), RecordChange("parked/billing/7", b"")])
        changes = [
            RecordChange(PART, b"held by 1", 0),
            RecordChange(ABOUT, b"new", first[0]),
            RecordChange("parked/billing/7", None, first[1]),
        ]
        wire.deaf = True
        saving = asyncio.create_task(backend.save_records(changes))
        await until(lambda: saved(admin, schema, b"held by 1"))
        yield store, saving


async def test_a_save_whose_answer_is_lost_finds_its_own_values(
    broken_saving: tuple[hw.EventStore, asyncio.Task[list[int]]], wire: Wire
) -> None:
    store, saving = broken_saving
    wire.cut()
    revisions = await saving
    found = {each.name: (each.value, each.revision) for each in await store._backend.load_records("")}
    assert found == {PART: (b"held by 1", revisions[0]), ABOUT: (b"new", revisions[1])}
    assert revisions[2] == 0


async def test_a_save_whose_answer_is_lost_is_stale_where_another_came_since(
    broken_saving: tuple[hw.EventStore, asyncio.Task[list[int]]], wire: Wire, postgres_schema_url: str
) -> None:
    store, saving = broken_saving
    async with hw.connect(postgres_schema_url) as other:
        await other._backend.save_records([RecordChange(PART, b"held by 2")])
    wire.cut()
    with pytest.raises(hw.StaleRecord):
        await saving
    assert [each.value for each in await store._backend.load_records("")] == [b"new", b"held by 2"]


async def test_a_lost_swap_is_no_error_of_the_server(postgres_schema_url: str, admin: Connection, schema: str) -> None:
    """Members compete for leases all the time: the server's log must not fill with it."""
    async with hw.connect(postgres_schema_url) as store:
        (revision,) = await store._backend.save_records([RecordChange(PART, b"held by 1", 0)])
        with pytest.raises(hw.StaleRecord):
            await store._backend.save_records([RecordChange(PART, b"held by 2", 0)])
    call = f"SELECT {schema}.save_records_v1(%s, %s::bytea[], %s::int8[])"
    names = ["consumers/billing/members/1", PART]
    rows = await admin.execute(call, (names, [b"", b"held by 2"], [None, revision - 1]))
    assert await rows.fetchone() == ([-2],)
    found = await admin.execute(f"SELECT name FROM {schema}.records")
    assert await found.fetchall() == [(PART,)]


async def test_no_changes_are_no_error(postgres_schema_url: str) -> None:
    async with hw.connect(postgres_schema_url) as store:
        assert await store._backend.save_records([]) == []
