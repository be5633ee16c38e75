"""What was acknowledged is there, whatever becomes of the server; and it stops without losing anything."""

from __future__ import annotations

import asyncio
import contextlib
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from kurrentdbclient import AsyncKurrentDBClient, KurrentDBClient, NewEvent, StreamState
from kurrentdbclient.exceptions import KurrentDBClientError

from headwater.testing.serving import ServerProcess
from tests.server.conftest import events


async def _write(url: str, acknowledged: list[NewEvent], writer: int) -> None:
    """Append until the server is gone."""
    async with AsyncKurrentDBClient(url) as client:
        with contextlib.suppress(KurrentDBClientError):
            for number in range(100_000):
                given = events("A", "B")
                stream = f"order-{writer}-{number % 5}"
                await client.append_to_stream(stream, current_version=StreamState.ANY, events=given)
                acknowledged += given


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_under_load(start: Callable[..., ServerProcess], how: str) -> None:
    server = start()
    acknowledged: list[NewEvent] = []
    writing = [asyncio.create_task(_write(server.url, acknowledged, writer)) for writer in range(8)]
    while len(acknowledged) < 500:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(server.kill if how == "kill" else server.stop)
    await asyncio.gather(*writing)
    again = start()
    async with AsyncKurrentDBClient(again.url) as client:
        read = [each async for each in await client.read_all()]
    positions = [each.commit_position for each in read]
    assert positions == sorted(set(positions))
    assert {each.id for each in acknowledged} <= {each.id for each in read}
    by_stream: dict[str, list[int]] = {}
    for each in read:
        by_stream.setdefault(each.stream_name, []).append(each.stream_position)
    assert all(numbers == list(range(len(numbers))) for numbers in by_stream.values())
    assert all(len(numbers) % 2 == 0 for numbers in by_stream.values())  # an append is whole


def test_readers_are_told_at_once(start: Callable[..., ServerProcess]) -> None:
    server = start(store="memory:")
    with KurrentDBClient(server.url) as client:
        client.create_subscription_to_all("g")
        subscriptions = [client.subscribe_to_all(), client.read_subscription_to_all("g")]
        began = time.monotonic()
        said = server.stop()
        assert time.monotonic() - began < 5
        assert "Traceback" not in said
        for each in subscriptions:
            with pytest.raises(KurrentDBClientError):
                list(each)


def test_health(start: Callable[..., ServerProcess]) -> None:
    server = start("--health-port", "0", store="memory:")
    for path, status in (("live", 204), ("ready", 204)):
        with urllib.request.urlopen(server.health.replace("live", path)) as answer:
            assert answer.status == status
    with pytest.raises(urllib.error.HTTPError) as missing:
        urllib.request.urlopen(server.health + "/nothing")
    missing.value.close()
    assert missing.value.code == 404


@pytest.mark.parametrize("home", ["SQLite", "PostgreSQL"])
async def test_two_servers_over_one_store(
    request: pytest.FixtureRequest, tmp_path: Path, start: Callable[..., ServerProcess], home: str
) -> None:
    store = f"sqlite:///{tmp_path}/two.db" if home == "SQLite" else request.getfixturevalue("postgres_schema_url")
    one, two = start(store=store), start(store=store)
    async with AsyncKurrentDBClient(one.url) as first, AsyncKurrentDBClient(two.url) as second:
        subscription = await second.subscribe_to_all()
        position = await first.append_to_stream("order-1", current_version=StreamState.NO_STREAM, events=events("A"))
        assert (await anext(subscription)).commit_position == position
        await subscription.stop()
        with pytest.raises(KurrentDBClientError):
            await second.append_to_stream("order-1", current_version=StreamState.NO_STREAM, events=events("B"))
        await second.delete_stream("order-1", current_version=0)
        await first.append_to_stream("order-1", current_version=StreamState.NO_STREAM, events=events("C"))
        assert [each.type for each in await second.get_stream("order-1")] == ["C"]
        await second.set_stream_metadata("order-2", metadata={"$maxCount": 1})
        await first.append_to_stream("order-2", current_version=StreamState.ANY, events=events("A", "B"))
        await _eventually_sees(first, "order-2", ["B"])
    for each in (one, two):
        each.stop()  # before the store goes


async def _eventually_sees(client: AsyncKurrentDBClient, stream: str, types: list[str]) -> None:
    """A server looks once a second for metadata that another one has written."""
    until = time.monotonic() + 5
    while [each.type for each in await client.get_stream(stream)] != types:
        assert time.monotonic() < until
        await asyncio.sleep(0.05)
