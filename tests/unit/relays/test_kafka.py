"""The relay to a real Kafka: each event once, whatever is killed; one relay at a time; headers that others read."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

import headwater as hw
from headwater.relays import KafkaPublisher, KafkaTopic, PlainKafkaPublisher, Relay
from headwater.testing.loans import CASE, loan

SECONDS = 30.0


class Message(msgspec.Struct):
    key: str
    value: bytes
    headers: dict[str, str]


def messages(url: str, count: int) -> list[Message]:
    """All messages of the topic that are committed; waits until there are so many."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    topic = KafkaTopic.parse(url)
    consumer = Consumer(
        topic.settings(**{"group.id": "test", "isolation.level": "read_committed", "enable.partition.eof": True})
    )
    found: list[Message] = []
    ended: set[int] = set()
    partitions = consumer.list_topics(topic.topic, timeout=10).topics[topic.topic].partitions
    consumer.assign([TopicPartition(topic.topic, number, OFFSET_BEGINNING) for number in partitions])
    deadline = time.monotonic() + SECONDS
    while (len(found) < count or len(ended) < len(partitions)) and time.monotonic() < deadline:
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error() is not None:
            ended.add(message.partition())
            continue
        headers = {name: value.decode() for name, value in message.headers()}
        found.append(Message(message.key().decode(), message.value(), headers))
    consumer.close()
    return found


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/loans.db"


async def relayed(store: hw.EventStore, kafka_url: str, **options: Any) -> Relay:
    """What is there, published."""
    relay = Relay(store, KafkaPublisher(KafkaTopic.parse(kafka_url)), **options)
    async with asyncio.timeout(SECONDS):
        await relay.run(upto=await store.head())
    return relay


async def test_events_arrive_as_cloudevents(url: str, kafka_url: str) -> None:
    async with hw.connect(url) as store:
        with hw.trace(correlation_id="request-7"):
            when = datetime(2011, 10, 1, tzinfo=UTC)
            event = hw.NewEvent("LoanRequested", {"amount": 20000}, tags=["applicant:112"], occurred_at=when)
            await store.append(CASE, event)
        await store.append(None, hw.NewEvent("RateChanged", b"\x00\xff", content_type="application/x", tags=["rate:1"]))
        relay = await relayed(store, kafka_url)
        assert (relay.relayed.events, relay.relayed.position) == (2, 2)
        first, second = await asyncio.to_thread(messages, kafka_url, 2)
        assert (first.key, msgspec.json.decode(first.value)) == (CASE, {"amount": 20000})
        assert first.headers == {
            "ce_specversion": "1.0",
            "ce_id": str(event.id),
            "ce_source": f"urn:headwater:{store.identity}",
            "ce_type": "LoanRequested",
            "ce_time": "2011-10-01T00:00:00Z",
            "ce_subject": CASE,
            "ce_partitionkey": CASE,
            "ce_sequence": "1",
            "ce_globalposition": "1",
            "ce_tags": '["applicant:112"]',
            "ce_metadata": '{"correlation_id":"request-7"}',
            "ce_correlationid": "request-7",
            "content-type": "application/json",
        }
        assert (second.value, second.headers["content-type"]) == (b"\x00\xff", "application/x")
        assert "ce_subject" not in second.headers


async def test_it_goes_on_where_it_was_and_keeps_the_order_of_streams(url: str, kafka_url: str) -> None:
    wide = f"{kafka_url}?partitions=3"
    async with hw.connect(url) as store:
        for number in range(6):
            await store.append(f"loan-{number}", loan(5))
        assert (await relayed(store, wide)).relayed.events == 30
        for number in range(6):
            await store.append(f"loan-{number}", loan(3))
        assert (await relayed(store, wide)).relayed.events == 18
        assert (await relayed(store, wide)).relayed.events == 0
        found = await asyncio.to_thread(messages, wide, 48)
        assert len(found) == 48
        for number in range(6):
            versions = [int(each.headers["ce_sequence"]) for each in found if each.key == f"loan-{number}"]
            assert versions == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_only_what_matches_and_the_place_moves_all_the_same(url: str, kafka_url: str) -> None:
    query = hw.Query([hw.QueryItem(types=["LoanRequested"])])
    async with hw.connect(url) as store:
        await store.append(CASE, [hw.NewEvent("LoanRequested", {}), *loan(1_500)])
        assert (await relayed(store, kafka_url, query=query)).relayed.events == 1
        place = await asyncio.to_thread(KafkaPublisher(KafkaTopic.parse(kafka_url)).open, store.identity)
        assert place is not None
        assert place.position > 1_000


async def test_live_until_it_is_stopped(url: str, kafka_url: str) -> None:
    async with hw.connect(url) as store:
        relay = Relay(store, KafkaPublisher(KafkaTopic.parse(kafka_url)))
        async with asyncio.timeout(SECONDS):
            running = asyncio.create_task(relay.run())
            for count in range(1, 4):
                await store.append(CASE, loan(1))
                while relay.relayed.events < count:
                    await asyncio.sleep(0.01)
            relay.stop()
            await running
        assert len(await asyncio.to_thread(messages, kafka_url, 3)) == 3


async def test_the_second_of_a_name_puts_the_first_out_of_action(url: str, kafka_url: str) -> None:
    async with hw.connect(url) as store:
        first = Relay(store, KafkaPublisher(KafkaTopic.parse(kafka_url)))
        async with asyncio.timeout(SECONDS):
            running = asyncio.create_task(first.run())
            await store.append(CASE, loan(2))
            while first.relayed.events < 2:
                await asyncio.sleep(0.01)
            second = await relayed(store, kafka_url)
            assert second.relayed.events == 0
            await store.append(CASE, loan(1))
            with pytest.raises(hw.Fenced):
                await running
        await relayed(store, kafka_url)
        assert len(await asyncio.to_thread(messages, kafka_url, 3)) == 3


async def test_the_place_of_another_store_is_refused(url: str, kafka_url: str) -> None:
    async with hw.connect(url) as store, hw.connect(f"{url}2") as other:
        await store.append(CASE, loan(2))
        await relayed(store, kafka_url)
        with pytest.raises(hw.ForeignCheckpoint):
            await relayed(other, kafka_url)


async def test_plain_keeps_its_place_in_the_store(url: str, kafka_url: str) -> None:
    async with hw.connect(url) as store:
        for _ in range(2):
            await store.append(CASE, loan(3))
            relay = Relay(store, PlainKafkaPublisher(KafkaTopic.parse(kafka_url), "plain"))
            async with asyncio.timeout(SECONDS):
                await relay.run(upto=await store.head())
            assert relay.relayed.events == 3
        assert len(await asyncio.to_thread(messages, kafka_url, 6)) == 6
        checkpoint = await store.checkpoints.load("relay/plain")
        assert checkpoint is not None
        assert checkpoint.position == 6


async def test_an_event_that_is_too_large_is_not_passed_over(url: str, kafka_url: str) -> None:
    async with hw.connect(url, limits=hw.Limits(event_bytes_max=4_000_000)) as store:
        await store.append(CASE, hw.NewEvent("LoanRequested", {"scan": "x" * 2_000_000}))
        with pytest.raises(hw.StoreUnavailable, match=r"max\.message\.bytes"):
            await relayed(store, kafka_url)
        assert await asyncio.to_thread(messages, kafka_url, 0) == []


@pytest.fixture
def relays(url: str, kafka_url: str) -> Iterator[Any]:
    """Starts relays as processes, and ends those that are left."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "headwater.cli", "relay", url, f"{kafka_url}?partitions=2"]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()


async def test_whatever_is_killed_each_event_is_there_once(url: str, kafka_url: str, relays: Any) -> None:
    """Relays killed at random moments while events come, and two at a time now and then."""
    chance = random.Random(2012)
    done = asyncio.Event()

    async def append(store: hw.EventStore) -> None:
        count = 0
        while not done.is_set():
            await store.append(f"loan-{count % 7}", loan(1 + count % 3))
            count += 1
            await asyncio.sleep(0.002)

    async with hw.connect(url) as store, asyncio.timeout(120):
        appending = asyncio.create_task(append(store))
        for turn in range(8):
            running = [relays() for _ in range(1 + (turn % 4 == 3))]
            await asyncio.sleep(0.9 + chance.random() * 0.8)
            for each in running:
                each.send_signal(signal.SIGKILL)
                await asyncio.to_thread(each.wait)
        done.set()
        await appending
        await relayed(store, f"{kafka_url}?partitions=2")
        events = [event async for event in store.read_all()]
        found = await asyncio.to_thread(messages, kafka_url, len(events))
        assert Counter(each.headers["ce_id"] for each in found) == Counter(str(event.id) for event in events)
        for number in range(7):
            versions = [int(each.headers["ce_sequence"]) for each in found if each.key == f"loan-{number}"]
            assert versions == sorted(versions)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kafka://localhost:9092", "can't be a topic"),
        ("kafka:///loans", "names no brokers"),
        ("kafka://me:secret@localhost/loans", "names no brokers"),
        ("http://localhost:9092/loans", "names no brokers"),
        ("kafka://localhost:9092/a b", "can't be a topic"),
        ("kafka://localhost:9092/loans?copies=3", "option 'copies' is not known"),
        ("kafka://localhost:9092/loans?partitions=0", "partitions is '0'"),
    ],
)
def test_urls_that_name_no_topic(text: str, problem: str) -> None:
    pytest.importorskip("confluent_kafka", reason="the extra 'kafka' is not installed")
    with pytest.raises(hw.BadUrl, match=problem) as refused:
        KafkaTopic.parse(text)
    assert "secret" not in str(refused.value)


def test_options_go_to_the_client() -> None:
    topic = KafkaTopic.parse("kafka://k1:9092,k2:9092/loans?partitions=8&security.protocol=SSL")
    assert topic == KafkaTopic("k1:9092,k2:9092", "loans", 8, None, {"security.protocol": "SSL"})
    assert topic.settings()["security.protocol"] == "SSL"
    with pytest.raises(hw.BadUrl, match="name"):
        KafkaPublisher(topic, "a b")
