"""The everyday calls of the Python client for asyncio."""

from __future__ import annotations

import asyncio

import pytest
from kurrentdbclient import AsyncKurrentDBClient, StreamState
from kurrentdbclient.exceptions import NotFoundError, WrongCurrentVersionError

from headwater.testing.serving import ServerProcess
from tests.server.conftest import events

NONE, ANY = StreamState.NO_STREAM, StreamState.ANY


async def test_append_read_delete(async_client: AsyncKurrentDBClient, stream: str) -> None:
    given = events("A", "B")
    position = await async_client.append_to_stream(stream, current_version=NONE, events=given)
    assert await async_client.append_to_stream(stream, current_version=NONE, events=given) == position
    with pytest.raises(WrongCurrentVersionError):
        await async_client.append_to_stream(stream, current_version=NONE, events=events("C"))
    assert [each.type for each in await async_client.get_stream(stream)] == ["A", "B"]
    assert await async_client.get_current_version(stream) == 1
    await async_client.set_stream_metadata(stream, metadata={"$maxCount": 1})
    assert [each.type for each in await async_client.get_stream(stream)] == ["B"]
    await async_client.delete_stream(stream, current_version=1)
    with pytest.raises(NotFoundError):
        await async_client.get_stream(stream)


async def test_many_at_a_time(async_client: AsyncKurrentDBClient, stream: str) -> None:
    await asyncio.gather(
        *[
            async_client.append_to_stream(f"{stream}-{n % 7}", current_version=ANY, events=events("A"))
            for n in range(200)
        ]
    )
    read = [await async_client.get_stream(f"{stream}-{n}") for n in range(7)]
    assert sum(map(len, read)) == 200
    assert all([each.stream_position for each in one] == list(range(len(one))) for one in read)


async def test_subscribe_to_all(async_client: AsyncKurrentDBClient, stream: str) -> None:
    subscription = await async_client.subscribe_to_all(from_end=True)
    await async_client.append_to_stream(stream, current_version=NONE, events=events("A", "B"))
    async with subscription:
        seen = [await anext(subscription) for _ in range(2)]
    assert [(each.stream_name, each.type) for each in seen] == [(stream, "A"), (stream, "B")]


async def test_persistent_subscription(async_client: AsyncKurrentDBClient, stream: str) -> None:
    await async_client.create_subscription_to_stream("g", stream)
    await async_client.append_to_stream(stream, current_version=NONE, events=events("A"))
    async with await async_client.read_subscription_to_stream("g", stream) as subscription:
        event = await anext(subscription)
        await subscription.ack(event)
    assert event.type == "A"
    await async_client.delete_subscription("g", stream)


async def test_discovery(server: ServerProcess, stream: str) -> None:
    async with AsyncKurrentDBClient(server.url.replace("kurrentdb://", "kurrentdb+discover://")) as client:
        await client.append_to_stream(stream, current_version=NONE, events=events("A"))
        assert len(await client.get_stream(stream)) == 1
