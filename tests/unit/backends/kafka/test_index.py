"""The index is made from the topics: lost, old, foreign, or in somebody else's use."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

import headwater as hw
from headwater.testing.loans import CASE, loan


def index_of(url: str) -> Path:
    return Path(url.partition("index=")[2])


def without_index(url: str) -> str:
    return url.partition("?")[0] + "?takeover=yes"


def remove(index: Path) -> None:
    for file in index.parent.glob(index.name + "*"):
        file.unlink()


async def fill(store: hw.EventStore) -> None:
    """Something of each kind that a store keeps."""
    await store.append(CASE, loan(5), expected=0)
    await store.append(None, hw.NewEvent("RatesChanged", {"percent": 4.5}, tags=["rates:2012"]))
    await store.append_all([hw.Append("loan-1", loan(2)), hw.Append("loan-2", loan(3))])
    await store.set_policy(CASE, max_count=3)
    await store.delete_stream("loan-1")
    await store.append("loan-1", loan(1))
    await store.tombstone_stream("loan-2")
    await store.snapshots.save(CASE, 5, {"amount": 5000}, schema="loan-1")
    await store.snapshots.save("gone", 1, {}, schema="loan-1")
    await store.snapshots.delete("gone")
    await store.checkpoints.save("letters", await store.head())
    await store.set_policy(CASE, max_count=2, max_age=timedelta(days=36_500))


async def content(store: hw.EventStore) -> object:
    """All of it, to be compared."""
    return (
        store.identity,
        [event async for event in store.read_all()],
        [event async for event in store.read(CASE)],
        [event async for event in store.read("loan-1")],
        [info async for info in store.streams()],
        await store.snapshots.load(CASE, schema="loan-1"),
        await store.snapshots.load("gone", schema="loan-1"),
        await store.checkpoints.load("letters"),
    )


async def test_lost(kafka_store_url: str) -> None:
    """Without its index, a store is the same; and in another process's index, too."""
    async with hw.connect(kafka_store_url) as store:
        await fill(store)
        before = await content(store)
    remove(index_of(kafka_store_url))
    for url in (kafka_store_url, without_index(kafka_store_url)):
        async with hw.connect(url) as store:
            assert await content(store) == before
            with pytest.raises(hw.StreamDeleted):
                await store.append("loan-2", loan(1))


async def test_old(kafka_store_url: str, tmp_path: Path) -> None:
    """An index that was put back from a copy catches up."""
    index = index_of(kafka_store_url)
    async with hw.connect(kafka_store_url) as store:
        await store.append(CASE, loan(2))
    shutil.copy(index, tmp_path / "copy")
    remove(index)
    async with hw.connect(kafka_store_url) as store:
        await store.append("loan-7", loan(3))
        await store.tombstone_stream(CASE)
        before = await content(store)
    remove(index)
    shutil.copy(tmp_path / "copy", index)
    async with hw.connect(kafka_store_url) as store:
        assert await content(store) == before


async def test_read_along(kafka_store_url: str) -> None:
    """Another process's index follows while the owner works: subscribers there see every event."""
    async with hw.connect(kafka_store_url) as store, hw.connect(without_index(kafka_store_url)) as reader:
        seen = []

        async def follow() -> None:
            async for event in reader.subscribe():
                seen.append(event.position)
                if len(seen) == 60:
                    return

        following = asyncio.create_task(follow())
        await asyncio.gather(*(store.append(f"loan-{number}", loan(3)) for number in range(20)))
        await asyncio.wait_for(following, 20)
        assert seen == list(range(1, 61))


async def test_in_use(kafka_store_url: str) -> None:
    """Two processes can't share an index: the second is told so."""
    program = (
        "import asyncio, sys, headwater as hw\n"
        "async def main():\n"
        "    try:\n"
        "        await hw.connect(sys.argv[1])\n"
        "    except hw.StoreUnavailable as refused:\n"
        "        print(refused)\n"
        "asyncio.run(main())\n"
    )
    async with hw.connect(kafka_store_url):
        run = [sys.executable, "-c", program, kafka_store_url]
        said = await asyncio.to_thread(subprocess.run, run, capture_output=True, text=True, check=True)
    assert "is in use by another opening" in said.stdout
    assert "index=" in said.stdout


async def test_of_another_store(kafka_store_url: str) -> None:
    """An index of another store is refused, and kept as it is; so is a store in SQLite."""
    other = kafka_store_url.replace("?", "-other?")
    async with hw.connect(kafka_store_url) as store:
        await store.append(CASE, loan(1))
    async with hw.connect(without_index(other)) as store:
        await store.append(CASE, loan(2))
    with pytest.raises(hw.CorruptStore, match="it is the index of the store"):
        await hw.connect(other)
    async with hw.connect(kafka_store_url) as store:
        assert await store.head() == 1
    remove(index_of(kafka_store_url))
    async with hw.connect(f"sqlite:///{index_of(kafka_store_url)}") as local:
        await local.append(CASE, loan(1))
    with pytest.raises(hw.CorruptStore, match="a store of its own"):
        await hw.connect(kafka_store_url)
    admin = AdminClient({"bootstrap.servers": other.removeprefix("kafka://").partition("/")[0]})
    name = other.partition("?")[0].rpartition("/")[2]
    for gone in admin.delete_topics([f"{name}.events", f"{name}.beside"]).values():
        gone.result(10)


async def test_ahead_of_the_topics(kafka: str, kafka_store_url: str) -> None:
    """Topics that were emptied below an index: nothing is served from it, and it is not touched."""
    async with hw.connect(kafka_store_url) as store:
        await store.append(CASE, loan(3))
    admin = AdminClient({"bootstrap.servers": kafka})
    name = kafka_store_url.partition("?")[0].rpartition("/")[2]
    topics = [f"{name}.events", f"{name}.beside"]
    for gone in admin.delete_topics(topics).values():
        gone.result(10)
    while set(topics) & set(admin.list_topics(timeout=10).topics):
        await asyncio.sleep(0.05)
    with pytest.raises(hw.CorruptStore, match=r"removed from them|is the index of the store"):
        await hw.connect(kafka_store_url)
    with sqlite3.connect(index_of(kafka_store_url)) as file:
        assert file.execute("select count(*) from events").fetchone() == (3,)


def send(kafka: str, topic: str, *, commit: bool) -> None:
    """Something else writes to a topic."""
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": f"other-{topic}-{commit}"})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(topic, b"{}", b"loan-1", partition=0)
    producer.flush(10)
    if commit:
        producer.commit_transaction(10)
    else:
        producer.abort_transaction(10)


async def test_aborted_transactions(kafka: str, kafka_store_url: str) -> None:
    """What was aborted is not there, and leaves no hole."""
    name = kafka_store_url.partition("?")[0].rpartition("/")[2]
    async with hw.connect(kafka_store_url) as store:
        await store.append(CASE, loan(1))
        await asyncio.to_thread(send, kafka, f"{name}.events", commit=False)
        await store.append(CASE, loan(1, skip=1), expected=1)
    async with hw.connect(without_index(kafka_store_url)) as store:
        assert [event.position async for event in store.read_all()] == [1, 2]


async def reading_on(store: hw.EventStore) -> None:
    async for _ in store.subscribe():
        pass


async def test_messages_of_others(kafka: str, kafka_store_url: str) -> None:
    """A message that is no event of this store: nothing is read past it, nothing appended after it."""
    name = kafka_store_url.partition("?")[0].rpartition("/")[2]
    async with hw.connect(kafka_store_url) as store:
        await store.append(CASE, loan(1))
        await asyncio.to_thread(send, kafka, f"{name}.events", commit=True)
        with pytest.raises(hw.CorruptStore):
            await asyncio.wait_for(reading_on(store), 20)
        with pytest.raises(hw.CorruptStore):
            await store.append(CASE, loan(1))
    with pytest.raises(hw.CorruptStore):
        await hw.connect(without_index(kafka_store_url))
