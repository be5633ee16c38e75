"""DynamoDB: appends and reads beside the bare client that does the same safe writes, by hand, without a store."""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from aiobotocore.session import AioSession
from botocore.exceptions import ClientError

import headwater as hw
from headwater.backends.dynamodb import spending
from headwater.backends.dynamodb.table import KEYS
from headwater.limits import Limits
from headwater.reading import FIRST_PAGE_EVENTS
from measuring import LOAN, Comparison, alternate, loan_event, show
from servers import dynamodb

REGION = "eu-central-1"
BATCH = 25

names = itertools.count(1)


class ByHand:
    """Appends of single events: head, event, id, last position and its entry, in one transaction."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table
        self._versions: dict[str, int] = {}
        self._position = 0

    async def append(self, stream: str) -> None:
        while True:
            version, position = self._versions.get(stream, 0), self._position
            try:
                await self._client.transact_write_items(
                    TransactItems=self._actions(stream, version, position), ClientRequestToken=str(uuid.uuid4())
                )
            except ClientError as error:  # somebody else has the position
                self._position = int(error.response["CancellationReasons"][3]["Item"]["v"]["N"])
            else:
                self._versions[stream] = version + 1
                self._position = max(self._position, position + 1)
                return

    def _actions(self, stream: str, version: int, position: int) -> list[dict[str, Any]]:
        id = uuid.uuid4().hex
        place = {"p": {"S": f"S#{stream}"}, "k": {"S": f"E#{version + 1:019d}"}}
        body = {"id": {"S": id}, "type": {"S": "A_SUBMITTED"}, "data": {"B": json.dumps(LOAN).encode()}}
        new = "attribute_not_exists(p)"
        head = self._put({"p": {"S": f"S#{stream}"}, "k": {"S": "H"}, "v": {"N": str(version + 1)}}, new)
        if version:
            head = self._moved({"p": {"S": f"S#{stream}"}, "k": {"S": "H"}}, version)
        return [
            head,
            self._put(place | body, new),
            self._put({"p": {"S": f"I#{id}"}, "k": {"S": "I"}, "q": place["p"], "f": place["k"]}, new),
            self._moved({"p": {"S": "G"}, "k": {"S": "H"}}, position),
            self._put({"p": {"S": "L"}, "k": {"S": f"{position + 1:019d}"}, "q": place["p"], "f": place["k"]}, new),
        ]

    def _put(self, item: dict[str, Any], condition: str) -> dict[str, Any]:
        return {"Put": {"TableName": self._table, "Item": item, "ConditionExpression": condition}}

    def _moved(self, key: dict[str, Any], before: int) -> dict[str, Any]:
        return {
            "Update": {
                "TableName": self._table,
                "Key": key,
                "UpdateExpression": "SET v = :n",
                "ConditionExpression": "v = :o" if before else "attribute_not_exists(v)",
                "ExpressionAttributeValues": {":n": {"N": str(before + 1)}}
                | ({":o": {"N": str(before)}} if before else {}),
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    async def read(self, stream: str) -> int:
        """Every event of a stream, in pages as the store's: the emulator looks through the whole partition for each."""
        count, limit, start = 0, FIRST_PAGE_EVENTS, {}
        while True:
            answer = await self._client.query(
                TableName=self._table,
                ConsistentRead=True,
                Limit=limit,
                KeyConditionExpression="p = :p AND k BETWEEN :low AND :high",
                ExpressionAttributeValues={":p": {"S": f"S#{stream}"}, ":low": {"S": "E#"}, ":high": {"S": "E#~"}},
                **start,
            )
            count += len([json.loads(item["data"]["B"]) for item in answer["Items"]])
            if "LastEvaluatedKey" not in answer:
                return count
            limit = Limits().page_events_max
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


async def with_client(endpoint: str, work: Callable[[ByHand], Awaitable[Any]]) -> Any:
    async with AioSession().create_client("dynamodb", region_name=REGION, endpoint_url=endpoint) as client:
        table = f"by-hand-{uuid.uuid4().hex}"
        await client.create_table(TableName=table, **KEYS)
        try:
            return await work(ByHand(client, table))
        finally:
            await client.delete_table(TableName=table)


async def with_store(endpoint: str, work: Callable[[hw.EventStore], Awaitable[Any]]) -> Any:
    async with hw.connect(f"dynamodb://t-{uuid.uuid4().hex}?region={REGION}&endpoint={endpoint}") as store:
        try:
            return await work(store)
        finally:
            backend: Any = store._backend
            await backend.service.client.delete_table(TableName=backend.service.target.table)


async def appended(append: Callable[[str], Awaitable[Any]], writers: int, count: int) -> tuple[float, float]:
    """Single-event appends a second by so many tasks, each to its own streams; and the median of one's milliseconds."""
    taken: list[float] = []

    async def write(base: int, each: int) -> None:
        for number in range(each):
            start = time.perf_counter()
            await append(f"loan-{base}-{number % 10}")
            taken.append(1_000 * (time.perf_counter() - start))

    await write(next(names), 20)  # warm
    taken.clear()
    start = time.perf_counter()
    await asyncio.gather(*(write(next(names), count // writers) for _ in range(writers)))
    return count / (time.perf_counter() - start), statistics.median(taken)


def ours(endpoint: str, writers: int, count: int) -> tuple[float, float]:
    async def work(store: hw.EventStore) -> tuple[float, float]:
        return await appended(lambda stream: store.append(stream, [loan_event()]), writers, count)

    return asyncio.run(with_store(endpoint, work))


def by_hand(endpoint: str, writers: int, count: int) -> tuple[float, float]:
    return asyncio.run(with_client(endpoint, lambda hand: appended(hand.append, writers, count)))


def ours_read(endpoint: str, count: int) -> float:
    async def work(store: hw.EventStore) -> float:
        for _ in range(count):
            await store.append("loan-173688", [loan_event()])
        start = time.perf_counter()
        assert len([event.data async for event in store.read("loan-173688")]) == count
        return count / (time.perf_counter() - start)

    return asyncio.run(with_store(endpoint, work))


def by_hand_read(endpoint: str, count: int) -> float:
    async def work(hand: ByHand) -> float:
        for _ in range(count):
            await hand.append("loan-173688")
        start = time.perf_counter()
        assert await hand.read("loan-173688") == count
        return count / (time.perf_counter() - start)

    return asyncio.run(with_client(endpoint, work))


def units(endpoint: str) -> tuple[float, float]:
    """Write units of an append of one event, and of one of 25."""

    async def work(store: hw.EventStore) -> tuple[float, float]:
        await store.append("loan-173688", [loan_event()])
        with spending() as one:
            await store.append("loan-173688", [loan_event()])
        with spending() as many:
            await store.append("loan-173688", [loan_event() for _ in range(BATCH)])
        return one.write_units, many.write_units

    return asyncio.run(with_store(endpoint, work))


def main() -> None:
    with dynamodb() as endpoint:
        latencies: dict[str, list[float]] = {"ours": [], "hand": []}

        def noted(key: str, measured: tuple[float, float]) -> float:
            latencies[key].append(measured[1])
            return measured[0]

        one, alone = alternate(
            5, lambda: noted("ours", ours(endpoint, 1, 300)), lambda: noted("hand", by_hand(endpoint, 1, 300))
        )
        many, crowd = alternate(3, lambda: ours(endpoint, 16, 480)[0], lambda: by_hand(endpoint, 16, 480)[0])
        read, queried = alternate(5, lambda: ours_read(endpoint, 300), lambda: by_hand_read(endpoint, 300))
        single, batch = units(endpoint)
    hand = "bare client, the same five writes in a transaction"
    show(
        "DynamoDB (emulated by MiniStack): events a second",
        [
            Comparison("single events, 1 writer", one, alone, hand, 0.7),
            Comparison("single events, 16 writers", many, crowd, hand + ", again where another was faster", 1),
            Comparison("reading a stream", read, queried, "bare client: Query in pages as large, and JSON", 0.7),
            Comparison(
                "milliseconds of an append (median)",
                statistics.median(latencies["ours"]),
                statistics.median(latencies["hand"]),
                hand,
                at_most=1.4,
            ),
            Comparison(f"write units an event, {BATCH} at a time", batch / BATCH, single, "one at a time", at_most=0.3),
        ],
    )


if __name__ == "__main__":
    main()
