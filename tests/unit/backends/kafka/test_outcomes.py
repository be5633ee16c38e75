"""Commits that get no answer: what is told is true, and sending the same events again never doubles them."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from tests.services.kafka_proxy import Moment, Proxy

import headwater as hw
from headwater.backends.kafka import clients, follower, owner, writer
from headwater.backends.kafka.url import Place
from headwater.testing.loans import CASE, loan


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that give up after a second or two, and brokers that abort what has been open for as long."""
    for room in (clients, follower, owner):
        monkeypatch.setattr(room, "CALL_SECONDS", 1.5)
    monkeypatch.setattr(clients, "TRANSACTION_MS", 2_000)


@pytest.fixture
def proxied_url(kafka_store_url: str, kafka_proxy: Proxy) -> str:
    """The store through the proxy."""
    _, rest = kafka_store_url.removeprefix("kafka://").split("/", 1)
    return f"kafka://{kafka_proxy.url}/{rest}"


async def cut(proxy: Proxy) -> None:
    while not proxy.down:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_short_cut_is_not_noticed(proxied_url: str, kafka_proxy: Proxy, moment: Moment) -> None:
    """A connection that breaks at the commit, and is back soon: the append succeeds, once."""
    async with hw.connect(proxied_url) as store:
        first, second = loan(2)
        await store.append(CASE, first, expected=0)
        kafka_proxy.cut = moment
        appending = asyncio.create_task(store.append(CASE, second, expected=1))
        await cut(kafka_proxy)
        await asyncio.sleep(0.3)
        kafka_proxy.mend()
        assert (await appending).version == 2
        assert [event.id async for event in store.read(CASE)] == [first.id, second.id]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_brokers_that_stay_away(proxied_url: str, kafka_proxy: Proxy, impatient: None, moment: Moment) -> None:
    """Nobody can be asked: the outcome is unknown, and says of which events. Later, they are sent again."""
    async with hw.connect(proxied_url) as store:
        first, second = loan(2)
        await store.append(CASE, first, expected=0)
        kafka_proxy.cut = moment
        with pytest.raises(hw.OutcomeUnknown) as unknown:
            await store.append(CASE, second, expected=1)
        assert list(unknown.value.ids) == [second.id]
        kafka_proxy.mend()
        while True:
            try:
                again = await store.append(CASE, second, expected=1)
                break
            except hw.StoreUnavailable:
                await asyncio.sleep(0.1)
        assert (again.version, again.duplicate) == (2, moment == "after")
        assert [event.id async for event in store.read(CASE)] == [first.id, second.id]


async def test_settled_by_the_topic(
    proxied_url: str, kafka_proxy: Proxy, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The producer gave up on its answer, and the topic can be read again: it was stored."""
    settle = follower.Follower.to_settled

    def later(self: follower.Follower) -> None:
        kafka_proxy.mend()
        settle(self)

    async with hw.connect(proxied_url) as store:
        first, second = loan(2)
        await store.append(CASE, first, expected=0)
        for room in (clients, follower):
            monkeypatch.setattr(room, "CALL_SECONDS", 30.0)
        monkeypatch.setattr(follower.Follower, "to_settled", later)
        kafka_proxy.cut = "after"
        assert (await store.append(CASE, second, expected=1)).version == 2
        assert [event.id async for event in store.read(CASE)] == [first.id, second.id]


class Mute:
    """A producer of which commits never leave the machine, while it is ``mute``."""

    mute = False

    def __init__(self, place: Place, message_bytes: int) -> None:
        self._producer = clients.producer(place, message_bytes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def commit_transaction(self, seconds: float) -> None:
        if Mute.mute:
            self._producer.flush()
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        self._producer.commit_transaction(seconds)


async def test_a_commit_that_was_never_sent(
    kafka_store_url: str, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The brokers abort what was left open. Then it is sure that nothing was stored, and the append may be repeated."""
    monkeypatch.setattr(owner, "producer", Mute)
    async with hw.connect(kafka_store_url) as store:
        first, second = loan(2)
        await store.append(CASE, first, expected=0)
        monkeypatch.setattr(Mute, "mute", True)
        with pytest.raises(hw.StoreUnavailable, match="was not stored") as refused:
            await store.append(CASE, second, expected=1)
        monkeypatch.setattr(Mute, "mute", False)
        assert refused.value.transient
        assert [event.id async for event in store.read_all()] == [first.id]
        assert (await store.append(CASE, second, expected=1)).position == 2


async def test_an_index_that_fails_after_the_commit(kafka_store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka has the events, and the index can't take them: they are stored, and read from the topic."""
    async with hw.connect(kafka_store_url) as store:
        first, second, third = loan(3)
        await store.append(CASE, first)
        keep, failing = writer.keep, threading.Event()
        failing.set()

        def full(connection: sqlite3.Connection, name: str, value: str) -> None:
            if failing.is_set():
                failing.clear()
                raise sqlite3.OperationalError("database or disk is full")
            keep(connection, name, value)

        monkeypatch.setattr(writer, "keep", full)
        assert (await store.append(CASE, second, expected=1)).version == 2
        assert [event.id async for event in store.read(CASE)] == [first.id, second.id]
        assert (await store.append(CASE, third, expected=2)).version == 3
