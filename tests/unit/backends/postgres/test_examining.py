"""The server below a store: what is well, and each thing that can be wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg.sql import Identifier

import headwater as hw
from headwater.backends.postgres import examining


@pytest.fixture
async def store(postgres_schema_url: str) -> AsyncIterator[hw.EventStore]:
    async with hw.connect(postgres_schema_url) as store:
        await store.append("loan-173688", hw.NewEvent("LoanRequested", {"amount": 20000}))
        yield store


async def states(store: hw.EventStore) -> dict[str, str]:
    return {each.subject: each.state for each in await store.examine()}


async def test_a_server_in_good_health(store: hw.EventStore) -> None:
    found = await states(store)
    assert set(found) == {
        "server",
        "durability",
        "role",
        "connections",
        "clock",
        "vacuum",
        "append-only",
        "horizon",
        "notifications",
    }
    assert set(found.values()) == {"well"}


async def test_who_holds_readers_back(store: hw.EventStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An append in a transaction that stays open: doctor names the process, and how to end it."""
    monkeypatch.setattr("headwater.backends.postgres.examining.HELD_SECONDS", 0.05)
    async with await psycopg.AsyncConnection.connect(postgres_url, application_name="forgotten") as connection:
        await store.bind(connection).append("loan-2", hw.NewEvent("LoanRequested", {}))
        await asyncio.sleep(0.1)
        (held,) = [each for each in await store.examine() if each.subject == "horizon"]
        assert held.state == "wrong"
        assert "forgotten, idle in transaction" in held.finding
        assert held.remedy.endswith(f"select pg_terminate_backend({connection.info.backend_pid}).")
        await connection.rollback()
    assert (await states(store))["horizon"] == "well"


async def test_triggers_that_are_off(store: hw.EventStore, postgres_schema_url: str, postgres_url: str) -> None:
    schema = postgres_schema_url.rpartition("schema=")[2]
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as admin:
        await admin.execute(f'ALTER TABLE "{schema}".events DISABLE TRIGGER append_only')
        assert (await states(store))["append-only"] == "wrong"
        await admin.execute(f'DROP TRIGGER append_only ON "{schema}".events')
        assert (await states(store))["append-only"] == "wrong"


async def test_notifications_that_do_not_arrive(store: hw.EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.backends.postgres.examining.NOTIFY_SECONDS", 0.05)
    monkeypatch.setattr("headwater.backends.postgres.examining.Identifier", lambda _: Identifier("elsewhere"))
    assert (await states(store))["notifications"] == "note"


def test_settings_that_lose_events() -> None:
    on = {"fsync": "on", "full_page_writes": "on"}
    assert examining._durability(on, "on", "").state == "well"
    assert "wait for db2" in examining._durability(on, "remote_apply", "db2").finding
    assert examining._durability(on, "off", "").state == "wrong"
    off = examining._durability({**on, "fsync": "off"}, "on", "")
    assert (off.state, off.finding.split()[0]) == ("wrong", "fsync")
    assert examining._version("13.4").state == "wrong"
    assert examining._version("18.1 (Debian)").state == "well"
    assert examining._role(True).state == "wrong"
    assert (examining._clock(0.9).state, examining._clock(-1.1).state) == ("well", "note")
    assert examining._vacuum(1_600_000_000).state == "wrong"
    assert (examining._connections(95, 100, 10).state, examining._connections(80, 100, 10).state) == ("note", "well")
