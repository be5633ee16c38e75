"""Kafka as a store: appends beside the bare client that does the same safe writes, and reading the topic beside it."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import headwater as hw
from headwater import sync
from measuring import LOAN, Comparison, alternate, loan_event, show, workspace
from servers import kafka

READ = 50_000


def name() -> str:
    return f"t{uuid.uuid4().hex}"


class ByHand:
    """Appends of single events: the event, and who has written what, in a transaction, as a safe store needs it."""

    def __init__(self, servers: str) -> None:
        self._events, self._beside = name(), name()
        admin = AdminClient({"bootstrap.servers": servers})
        for made in admin.create_topics([NewTopic(topic, 1, 1) for topic in (self._events, self._beside)]).values():
            made.result()
        self._servers = servers
        self._producer = Producer(
            {"bootstrap.servers": servers, "transactional.id": name(), "linger.ms": 0, "log_level": 3}
        )
        self._producer.init_transactions(30)

    def append(self, count: int = 1) -> None:
        self._producer.begin_transaction()
        for _ in range(count):
            headers = {"ce_id": str(uuid.uuid4()), "ce_type": "A_SUBMITTED"}
            self._producer.produce(self._events, json.dumps(LOAN), "loan-173688", 0, headers=headers)
        self._producer.produce(self._beside, json.dumps({"count": count}), "commit", 0)
        self._producer.commit_transaction(30)

    def read(self, count: int) -> None:
        reader = Consumer(
            {
                "bootstrap.servers": self._servers,
                "group.id": name(),
                "isolation.level": "read_committed",
                "log_level": 3,
            }
        )
        reader.assign([TopicPartition(self._events, 0, 0)])
        while count:
            messages = reader.consume(1_000, 1)
            assert all(json.loads(message.value() or b"") for message in messages)
            count -= len(messages)
        reader.close()


def timed(work: Callable[[], object], count: int) -> list[float]:
    """The milliseconds that each of so many took."""
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        work()
        taken.append(1_000 * (time.perf_counter() - start))
    return taken


def ours_alone(url: str, count: int) -> list[float]:
    with sync.connect(url) as store:
        store.append("loan-1", [loan_event()])
        return timed(lambda: store.append("loan-173688", [loan_event()]), count)


def by_hand_alone(servers: str, count: int) -> list[float]:
    hand = ByHand(servers)
    hand.append()
    return timed(hand.append, count)


def ours_together(url: str, writers: int, count: int) -> float:
    async def work() -> float:
        async with hw.connect(url) as store:

            async def write(stream: str) -> None:
                for _ in range(count // writers):
                    await store.append(stream, [loan_event()])

            await write("loan-0")
            start = time.perf_counter()
            await asyncio.gather(*(write(f"loan-{number}") for number in range(1, writers + 1)))
            return count / (time.perf_counter() - start)

    return asyncio.run(work())


def ours_caught_up(url: str) -> float:
    """Events a second from the topic into a new index, and read there."""
    with sync.connect(url) as store:
        for _ in range(READ // 500):
            store.append("loan-173688", [loan_event() for _ in range(500)])
    start = time.perf_counter()
    with sync.connect(url.partition("?")[0]) as store:
        assert len([event.data for event in store.read_all()]) == READ
    return READ / (time.perf_counter() - start)


def ours_read(url: str) -> float:
    """Events a second from the index."""
    with sync.connect(url) as store:
        for _ in range(READ // 500):
            store.append("loan-173688", [loan_event() for _ in range(500)])
        start = time.perf_counter()
        assert len([event.data for event in store.read_all()]) == READ
        return READ / (time.perf_counter() - start)


def by_hand_read(servers: str) -> float:
    hand = ByHand(servers)
    for _ in range(READ // 500):
        hand.append(500)
    start = time.perf_counter()
    hand.read(READ)
    return READ / (time.perf_counter() - start)


def main() -> None:
    with kafka() as servers, workspace() as folder:

        def url() -> str:
            store = name()
            return f"kafka://{servers}/{store}?index={Path(folder).absolute()}/{store}.db"

        latencies: dict[str, list[float]] = {"ours": [], "hand": []}

        def alone(side: str, measured: list[float]) -> float:
            latencies[side] += measured
            return 1_000 * len(measured) / sum(measured)

        one, hand_one = alternate(
            5, lambda: alone("ours", ours_alone(url(), 400)), lambda: alone("hand", by_hand_alone(servers, 400))
        )
        many = alternate(3, lambda: ours_together(url(), 16, 3_200))[0]
        read, caught_up, hand_read = alternate(
            3, lambda: ours_read(url()), lambda: ours_caught_up(url()), lambda: by_hand_read(servers)
        )
    hand = "bare client, a transaction with the event and a mark"
    reader = "bare client: consume, and JSON"
    show(
        "Kafka as a store: events a second",
        [
            Comparison("single events, 1 writer", one, hand_one, hand, 0.7),
            Comparison("single events, 16 writers", many, hand_one, hand + ", 1 writer: it can have no more", 1),
            Comparison("reading the log", read, hand_read, reader, 0.7),
            Comparison("reading the log, with a new index", caught_up, hand_read, reader),
            Comparison(
                "microseconds of an append (median)",
                1_000 * statistics.median(latencies["ours"]),
                1_000 * statistics.median(latencies["hand"]),
                hand,
                at_most=1.4,
            ),
        ],
    )


main()
