"""Readers are woken by other processes' appends, and look by themselves where notifications do not arrive."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.backends.postgres.conftest import Connection

import headwater as hw
from headwater.backends.postgres import backend, wakeup
from headwater.backends.postgres.wakeup import Wakeup, channel_of

LISTENING = "SELECT pid FROM pg_stat_activity WHERE query LIKE %s"


def submitted() -> hw.NewEvent:
    return hw.NewEvent("A_SUBMITTED", {"amount": 20000})


def wakeup_of(store: hw.EventStore) -> Wakeup:
    found = store._backend._wakeup  # type: ignore[attr-defined]
    assert isinstance(found, Wakeup)
    return found


async def hearing(store: hw.EventStore) -> None:
    """Wait until the store hears notifications."""
    wakeup_of(store).listen()
    while wakeup_of(store).look_most != wakeup.LOOK_MOST:
        await asyncio.sleep(0.005)


async def listeners(admin: Connection, schema: str) -> list[int]:
    rows = await admin.execute(LISTENING, (f'LISTEN "{channel_of(schema)}"%',))
    return [pid for (pid,) in await rows.fetchall()]


async def test_another_stores_append_wakes_a_reader_that_never_looks(
    postgres_schema_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "LOOK_FIRST", 3_600.0)
    async with hw.connect(postgres_schema_url) as reader, hw.connect(postgres_schema_url) as writer:
        await hearing(reader)
        for _ in range(20):
            head = await reader.head()
            waiting = asyncio.create_task(reader.wait(head, timeout=600))
            await asyncio.sleep(0.02)  # so that it waits already
            done = await writer.append("loan-173688", submitted())
            while not await asyncio.wait_for(waiting, 60) or await reader.head() < done.position:
                waiting = asyncio.create_task(reader.wait(head, timeout=600))
            assert await reader.head() == done.position


async def test_where_the_listening_connection_breaks_readers_look_and_listen_again(
    postgres_schema_url: str, admin: Connection, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeup, "REOPEN_SECONDS", 0.3)
    async with hw.connect(postgres_schema_url) as reader, hw.connect(postgres_schema_url) as writer:
        await hearing(reader)
        (pid,) = await listeners(admin, schema)
        await admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
        while wakeup_of(reader).look_most != wakeup.LOOK_MOST_DEAF:
            await asyncio.sleep(0.005)
        waiting = asyncio.create_task(reader.wait(await reader.head(), timeout=60))
        await writer.append("loan-173688", submitted())
        assert await waiting
        await hearing(reader)
        assert await listeners(admin, schema) != [pid]


async def test_where_nobody_may_listen_readers_look(postgres_schema_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pooler may swallow LISTEN or NOTIFY: nothing is ever heard."""

    async def deaf(self: Wakeup) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Wakeup, "_hear", deaf)
    async with hw.connect(postgres_schema_url) as reader, hw.connect(postgres_schema_url) as writer:
        waiting = asyncio.create_task(reader.wait(0, timeout=60))
        await writer.append("loan-173688", submitted())
        assert await waiting
        assert wakeup_of(reader).look_most == wakeup.LOOK_MOST_DEAF


async def test_a_bound_append_is_found_by_looking(postgres_schema_url: str, admin: Connection) -> None:
    async with hw.connect(postgres_schema_url) as reader, hw.connect(postgres_schema_url) as writer:
        await hearing(reader)
        waiting = asyncio.create_task(reader.wait(0, timeout=60))
        async with admin.transaction():
            await writer.bind(admin).append("loan-173688", submitted())
        assert await waiting


async def test_a_closed_store_listens_no_more(postgres_schema_url: str, admin: Connection, schema: str) -> None:
    async with hw.connect(postgres_schema_url) as store:
        await hearing(store)
        assert len(await listeners(admin, schema)) == 1
    while await listeners(admin, schema):  # the server needs a moment to notice
        await asyncio.sleep(0.005)


async def test_many_appends_share_a_notification(
    postgres_schema_url: str, admin: Connection, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = 0
    await admin.execute(f'LISTEN "{channel_of(schema)}"')
    async with hw.connect(postgres_schema_url) as store:
        await asyncio.gather(*[store.append(f"loan-{n}", submitted()) for n in range(300)])
        async for _ in admin.notifies(timeout=0.5):
            heard += 1
    assert 1 <= heard <= 30


def test_channels_of_long_names_differ() -> None:
    assert channel_of("x" * 63) != channel_of("x" * 62 + "y")
    assert len(channel_of("x" * 63)) <= 63


async def test_a_program_that_appends_once_and_ends_wakes_readers(
    postgres_schema_url: str, admin: Connection, schema: str
) -> None:
    await admin.execute(f'LISTEN "{channel_of(schema)}"')
    async with hw.connect(postgres_schema_url) as store:
        await store.append("loan-173688", submitted())
    heard = [each.channel async for each in admin.notifies(timeout=20, stop_after=1)]
    assert heard == [channel_of(schema)]


async def test_who_waits_when_nothing_comes_is_told_so_though_the_store_begins_to_listen(
    postgres_schema_url: str,
) -> None:
    async with hw.connect(postgres_schema_url) as store:
        assert not await store.wait(0, timeout=0.5)
        assert wakeup_of(store).look_most == wakeup.LOOK_MOST  # it heard itself meanwhile


async def test_who_waits_when_the_store_is_closed_is_told_so(postgres_schema_url: str) -> None:
    store = await hw.connect(postgres_schema_url)
    await hearing(store)
    waiting = asyncio.create_task(store.wait(0, timeout=600))
    await asyncio.sleep(0.05)
    await store.close()
    with pytest.raises(hw.StoreUnavailable, match="closed"):
        await waiting
