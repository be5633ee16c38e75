"""Applications that are recognised, and those that are refused with the reason; our own schema beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from tests.services.marten import MakeSchema, MartenSchema
from tests.services.marten_events import requested
from tests.unit.backends.marten.conftest import Connecting, Rows

import headwater as hw
from headwater.testing.conformance.fixtures import history

LOAN = "loan-173688"


async def _said(store: hw.EventStore) -> str:
    (found,) = [each.finding for each in await store.examine() if each.subject == "application"]
    return found


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"version": 9}, "streams named by guid; one tenant; binary payloads; appends with application times"),
        ({"version": 8}, "streams named by guid; one tenant; appends with database times"),
        (
            {"identity": "string", "conjoined": True, "metadata": ("headers", "user_name"), "unique_ids": True},
            "streams named by string; tenants share the tables; columns for headers, user_name; binary payloads; "
            "ids indexed; appends with application times",
        ),
    ],
    ids=["9", "8", "more"],
)
async def test_what_is_recognised(marten_schema: MakeSchema, options: dict[str, Any], said: str) -> None:
    async with hw.connect(marten_schema(**options).url()) as store:
        assert await _said(store) == said


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DROP TABLE {}.mt_events CASCADE", "no event store of Marten's"),
        ("ALTER TABLE {}.mt_events ADD COLUMN importance int", "does not know: importance"),
        ("ALTER TABLE {}.mt_streams DROP COLUMN created", "lack created"),
        ("CREATE TABLE {}.mt_event_tag_applicant (value text, seq_id bigint)", "tables for tags"),
        ("CREATE TABLE {}.mt_dcb_tag_version (tag_table text)", "tables for tags"),
        ("ALTER TABLE {}.mt_events ADD COLUMN tags text", "column for tags"),
        ("DROP FUNCTION {}.mt_archive_stream", "mt_archive_stream is missing"),
        (
            "DROP TABLE {}.mt_events CASCADE; CREATE TABLE {}.mt_events (tenant_id text) PARTITION BY LIST (tenant_id)",
            "partitioned",
        ),
    ],
)
async def test_what_is_refused(
    application: MartenSchema, connecting: Connecting, rows: Rows, change: str, told: str
) -> None:
    for statement in change.split("; "):
        await rows(statement)
    with pytest.raises(hw.StoreUnavailable, match=told) as refused:
        await connecting()
    assert not refused.value.transient
    assert await rows("SELECT count(*) FROM pg_namespace WHERE nspname = 'headwater_{}'") == [(0,)]


async def test_strict_identity_is_kept(store: hw.EventStore, connecting: Connecting, rows: Rows) -> None:
    """A new stream's id is taken down where the application keeps it for ever."""
    await rows("CREATE TABLE {}.mt_streams_identity (id varchar PRIMARY KEY)")
    async with connecting() as strict:
        await strict.append(LOAN, [hw.NewEvent("LoanRequested", {})], expected=hw.NO_STREAM)
        await strict.append(LOAN, [hw.NewEvent("LoanApproved", {})], expected=1)
        assert "strict identity" in await _said(strict)
    assert await rows("SELECT id FROM {}.mt_streams_identity") == [(LOAN,)]


async def test_natural_keys_are_warned_of(connecting: Connecting, rows: Rows) -> None:
    await rows("CREATE TABLE {}.mt_natural_key_loan (natural_key_value text)")
    async with connecting() as store:
        (found,) = [each for each in await store.examine() if each.subject == "appends"]
        assert (found.state, "natural key" in found.finding) == ("wrong", True)


async def test_nothing_is_added_to_the_applications_schema(connecting: Connecting, rows: Rows) -> None:
    everything = """SELECT kind, name FROM (
            SELECT 'class' AS kind, relname AS name FROM pg_class WHERE relnamespace = '{0}'::regnamespace
            UNION ALL SELECT 'function', proname FROM pg_proc WHERE pronamespace = '{0}'::regnamespace
            UNION ALL SELECT 'trigger', tgname FROM pg_trigger
            WHERE tgrelid IN ('{0}.mt_events'::regclass, '{0}.mt_streams'::regclass)
        ) AS every ORDER BY 1, 2"""
    before = await rows(everything)
    async with connecting() as store:
        await store.append(LOAN, hw.NewEvent("LoanRequested", {}, tags=["applicant:112"]))
        await store.checkpoints.save("mails", 1)
    assert await rows(everything) == before
    depending = """SELECT count(*) FROM pg_depend AS d JOIN pg_class AS c ON c.oid = d.refobjid
        JOIN pg_rewrite AS r ON r.oid = d.objid WHERE c.relnamespace = '{}'::regnamespace"""
    assert await rows(depending) == [(0,)]  # no view that would stand in the way of a migration


async def test_a_migration_is_followed(connecting: Connecting, rows: Rows) -> None:
    """Opened again after the application has gained a column, the store fills it in."""
    event = {"metadata": {"correlation_id": "request-7", "tenant": "north"}}
    async with connecting() as store:
        await store.append(LOAN, hw.NewEvent("LoanRequested", {}, **event))
        await rows("ALTER TABLE {}.mt_events DROP COLUMN headers")
        with pytest.raises(hw.StoreUnavailable):
            await store.append(LOAN, hw.NewEvent("LoanRequested", {}, **event))
    async with connecting() as store:
        await store.append(LOAN, hw.NewEvent("LoanRequested", {}, **event))
        assert [each.metadata for each in await history(store, LOAN)] == [
            {"correlation_id": "request-7"},  # what the application dropped is gone
            event["metadata"],
        ]


@pytest.fixture
async def stranger(application: MartenSchema, rows: Rows) -> AsyncIterator[str]:
    """A role that may read the application's tables, and nothing else."""
    role = f"r_{application.schema}"
    await rows(f"CREATE ROLE {role} LOGIN")
    await rows(f"GRANT USAGE ON SCHEMA {{}} TO {role}")
    await rows(f"GRANT SELECT ON ALL TABLES IN SCHEMA {{}} TO {role}")
    await rows(f"GRANT SELECT ON {{}}.mt_events_sequence TO {role}")
    yield role
    await rows(f"DROP OWNED BY {role}")
    await rows(f"DROP ROLE {role}")


async def test_a_role_that_only_reads(
    application: MartenSchema, stranger: str, rows: Rows, connecting: Connecting
) -> None:
    """It is told what is missing; once an owner has made that, it reads."""
    url = application.url().replace("//postgres:", f"//{stranger}:")
    assert stranger in url
    with pytest.raises(hw.StoreUnavailable, match="as a role that may make it"):
        await hw.connect(url)
    with pytest.raises(hw.StoreUnavailable, match="as a role that may make it"):
        await connecting(create="no")
    async with connecting() as store:
        await store.append(LOAN, hw.NewEvent("LoanRequested", {}))
    await rows(f"GRANT USAGE ON SCHEMA headwater_{{}} TO {stranger}")
    await rows(f"GRANT SELECT ON ALL TABLES IN SCHEMA headwater_{{}} TO {stranger}")
    async with application.dotnet() as dotnet:
        await dotnet.rich_append(LOAN, [requested()], commit=False)
        await dotnet.quick_append("loan-2", [requested()])
    async with hw.connect(url) as reading:
        assert await reading.head() == 3  # a gap is passed, though it can't be noted
        assert [event.type for event in await history(reading, LOAN)] == ["LoanRequested"]
        with pytest.raises(hw.StoreUnavailable, match="permission denied"):
            await reading.append(LOAN, hw.NewEvent("LoanRequested", {}))


async def test_our_schema_is_another_ones(marten_schema: MakeSchema, rows: Rows) -> None:
    one, other = marten_schema(identity="string"), marten_schema(identity="string")
    async with hw.connect(one.url()):
        pass
    with pytest.raises(hw.CorruptStore, match=f"beside schema {one.schema}"):
        await hw.connect(other.url(own=f"headwater_{one.schema}"))
    await rows(f"CREATE SCHEMA headwater_{other.schema}")
    await rows(f"CREATE TABLE headwater_{other.schema}.beside (x int)")
    with pytest.raises(hw.CorruptStore, match="something else"):
        await hw.connect(other.url())


async def test_the_connection_is_another_ones(application: MartenSchema, store: hw.EventStore) -> None:
    """An append in the caller's own transaction stands and falls with it."""
    async with await psycopg.AsyncConnection.connect(application.conninfo) as connection:
        await store.bind(connection).append(LOAN, hw.NewEvent("LoanRequested", {}))
        await connection.rollback()
        assert await history(store, LOAN) == []
        await store.bind(connection).append(LOAN, hw.NewEvent("LoanRequested", {"applicant": "112"}))
        await connection.commit()
    assert [event.data for event in await history(store, LOAN)] == [{"applicant": "112"}]
