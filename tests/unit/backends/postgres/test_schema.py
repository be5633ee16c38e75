"""The schema: made once, recognised, refused where it is not ours or newer; and it refuses to be changed."""

from __future__ import annotations

import asyncio
import re

import psycopg
import pytest
from tests.unit.backends.postgres.conftest import Connection

import headwater as hw
from headwater.backends.postgres import schema_sql


async def test_openers_that_race_make_one_store(postgres_schema_url: str) -> None:
    stores = await asyncio.gather(*[hw.connect(postgres_schema_url) for _ in range(6)])
    try:
        assert len({store.identity for store in stores}) == 1
        for n, store in enumerate(stores):
            assert (await store.append("loan-173688", hw.NewEvent("A_SUBMITTED", {}))).version == n + 1
    finally:
        for store in stores:
            await store.close()


async def test_with_create_no_a_missing_store_is_not_made(
    postgres_schema_url: str, admin: Connection, schema: str
) -> None:
    with pytest.raises(hw.StoreUnavailable, match="there is no store"):
        await hw.connect(f"{postgres_schema_url}&create=no")
    assert (await (await admin.execute("SELECT to_regnamespace(%s)", (schema,))).fetchone()) == (None,)
    await (await hw.connect(postgres_schema_url)).close()
    await (await hw.connect(f"{postgres_schema_url}&create=no")).close()


async def test_a_newer_schema_is_refused(postgres_schema_url: str, admin: Connection, schema: str) -> None:
    await (await hw.connect(postgres_schema_url)).close()
    await admin.execute(f"UPDATE {schema}.meta SET schema_version = 99")
    with pytest.raises(hw.StoreUnavailable, match="newer Headwater") as refused:
        await hw.connect(postgres_schema_url)
    assert not refused.value.transient


async def test_a_schema_with_other_tables_is_refused_and_left_alone(
    postgres_schema_url: str, admin: Connection, schema: str
) -> None:
    await admin.execute(f"CREATE SCHEMA {schema}")
    await admin.execute(f"CREATE TABLE {schema}.events AS SELECT 1 AS loan")
    with pytest.raises(hw.CorruptStore, match="something else"):
        await hw.connect(postgres_schema_url)
    rows = await (
        await admin.execute(f"SELECT relname FROM pg_class WHERE relnamespace = '{schema}'::regnamespace")
    ).fetchall()
    assert rows == [("events",)]


async def test_another_meta_table_is_refused(postgres_schema_url: str, admin: Connection, schema: str) -> None:
    await admin.execute(f"CREATE SCHEMA {schema}")
    await admin.execute(f"CREATE TABLE {schema}.meta (title text)")
    with pytest.raises(hw.CorruptStore, match="not Headwater's"):
        await hw.connect(postgres_schema_url)


@pytest.mark.parametrize("change", ["CACHE 20", "CYCLE", "INCREMENT -1"])
async def test_a_sequence_on_which_the_gate_can_not_stand_is_refused(
    postgres_schema_url: str, admin: Connection, schema: str, change: str
) -> None:
    await (await hw.connect(postgres_schema_url)).close()
    await admin.execute(f"ALTER SEQUENCE {schema}.positions {change}")
    with pytest.raises(hw.CorruptStore, match="readers could miss events"):
        await hw.connect(postgres_schema_url)


@pytest.mark.parametrize("partition", ["", "&partition=1000"], ids=["whole", "partitioned"])
async def test_the_log_refuses_every_change(
    postgres_schema_url: str, admin: Connection, schema: str, partition: str
) -> None:
    async with hw.connect(postgres_schema_url + partition) as store:
        await store.append("loan-173688", hw.NewEvent("A_SUBMITTED", {}, tags=["applicant:112"]))
        changes = [
            f"UPDATE {schema}.events SET type = 'A_APPROVED'",
            f"DELETE FROM {schema}.events",
            f"DELETE FROM {schema}.events WHERE position < 0",
            f"TRUNCATE {schema}.events",
            f"UPDATE {schema}.event_tags SET tag = 'applicant:113'",
            f"DELETE FROM {schema}.event_tags",
            f"TRUNCATE {schema}.event_tags",
        ]
        if partition:
            changes += [
                f"DELETE FROM {schema}.events_0",
                f"TRUNCATE {schema}.events_0",
                f"DELETE FROM {schema}.event_ids",
            ]
        for change in changes:
            with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
                await admin.execute(change)
        assert len([event async for event in store.read_all()]) == 1


@pytest.mark.parametrize("partition", [None, 5000])
async def test_the_printed_sql_makes_the_same_store(
    postgres_schema_url: str, admin: Connection, schema: str, partition: int | None
) -> None:
    """A database administrator may run it by hand, and the store opens with fewer rights."""
    await admin.execute(schema_sql(schema, partition))
    async with hw.connect(postgres_schema_url) as store:
        await store.append("loan-173688", hw.NewEvent("A_SUBMITTED", {}, tags=["applicant:112"]))
        query = hw.Query([hw.QueryItem(tags=["applicant:112"])])
        assert [event.stream async for event in store.read_all(query=query)] == ["loan-173688"]


def test_the_printed_sql_gives_a_reason_for_every_index() -> None:
    lines = schema_sql("bank").splitlines()
    indexes = [n for n, line in enumerate(lines) if line.startswith(("CREATE INDEX", "CREATE UNIQUE INDEX"))]
    assert len(indexes) == 5
    assert all(lines[n - 1].startswith("--") for n in indexes)
    assert all("--" in line for line in lines if line.startswith("    PRIMARY KEY"))
    assert not re.findall(r"\{\w+\}", schema_sql("bank") + schema_sql("bank", 5000))  # no placeholder is left


def test_the_printed_sql_refuses_a_name_that_needs_care() -> None:
    with pytest.raises(hw.BadUrl):
        schema_sql("bank; drop")


async def test_a_role_that_is_set_up_for_something_else_is_overruled(postgres_schema_url: str, schema: str) -> None:
    """Conditions need READ COMMITTED, and an acknowledged event is durable, whatever the role's defaults are."""
    options = "-c%20default_transaction_isolation%3Dserializable%20-c%20synchronous_commit%3Doff"
    async with hw.connect(f"{postgres_schema_url}&options={options}") as store:
        event = hw.NewEvent("A_SUBMITTED", {}, tags=["applicant:112"])
        query = hw.Query([hw.QueryItem(tags=["applicant:112"])])
        await store.append("loan-173688", event, condition=hw.AppendCondition(query))
        with pytest.raises(hw.AppendConditionFailed):
            await store.append("loan-173691", hw.NewEvent("A_SUBMITTED", {}), condition=hw.AppendCondition(query))
        backend = store._backend
        rows = await backend._connections.rows(  # type: ignore[attr-defined]  # to look through its own connection
            "SELECT current_setting('synchronous_commit'), current_setting('transaction_isolation')"
        )
        assert rows == [("on", "read committed")]
