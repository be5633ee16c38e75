"""Calls to DynamoDB: sends what ``requests`` builds, follows pages, repeats what may be repeated, names the faults."""

from __future__ import annotations

import asyncio
import io
import random
import threading
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore import exceptions

from headwater.backends.dynamodb import spending
from headwater.backends.dynamodb.clock import Clock
from headwater.backends.dynamodb.faults import THROTTLED, Lost, Overlapped, Refused, code_of, translated
from headwater.backends.dynamodb.keys import Key
from headwater.backends.dynamodb.requests import (
    BATCH_GET_MAX,
    BATCH_WRITE_MAX,
    Item,
    Reason,
    Requests,
    Where,
    key_of,
    plain,
    reasons_of,
)
from headwater.backends.dynamodb.url import Target

__all__ = ["Service", "pause"]

CONNECT_SECONDS = 2
READ_SECONDS = 5
ATTEMPTS = 4
"""Of each call, with growing pauses: where the connection is lost, the service fails, or there was too much."""
OVERLAPS_MAX = 60
"""A transaction that overlaps others is sent so often before that counts as a failure."""
PIECE_BYTES = 500_000
"""Of a request's body."""
TOGETHER = 16
"""Calls of one batch that are under way at a time."""

_sessions: dict[str | None, AioSession] = {}
_sessions_lock = threading.Lock()


def _session(profile: str | None) -> AioSession:
    """One for all stores of a profile: reading the description of AWS's services takes a tenth of a second."""
    with _sessions_lock:
        if profile not in _sessions:
            _sessions[profile] = AioSession(profile=profile)
        return _sessions[profile]


async def pause(attempt: int, most: float = 0.25) -> None:
    """Wait a random while (full jitter), longer from attempt to attempt."""
    await asyncio.sleep(random.uniform(0, min(most, 0.005 * 2**attempt)))


class Service:
    """The client, open. Bound to the event loop that it was opened in."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.requests = Requests(target.table)
        self.clock = Clock()
        self.client: Any = None
        """The ``aiobotocore`` client: tests hook faults into its events."""
        self._context: Any = None

    async def open(self) -> None:
        """Make the client. Sends nothing yet."""
        config = AioConfig(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=self.target.pool,
            retries={"mode": "standard", "total_max_attempts": 1},  # we repeat by ourselves, and so know what was sent
        )
        try:
            self._context = _session(self.target.profile).create_client(
                "dynamodb", region_name=self.target.region, endpoint_url=self.target.endpoint, config=config
            )
            self.client = await self._context.__aenter__()
            self.client.meta.events.register("before-send.dynamodb", _as_stream)
        except (exceptions.BotoCoreError, ValueError) as error:
            raise translated(error, self.target) from error

    async def close(self) -> None:
        """Close the connections."""
        if self._context is not None:
            context, self._context = self._context, None
            await context.__aexit__(None, None, None)

    async def call(self, operation: str, method: Callable[..., Any], request: dict[str, Any]) -> dict[str, Any]:
        """One call, repeated where it failed in passing. Raises the client's own errors.

        ``Lost`` where no answer came to a transaction that may have arrived.
        """
        if spending.wanted() and operation not in ("DescribeTable", "CreateTable"):
            request = request | {"ReturnConsumedCapacity": "TOTAL"}
        attempt, arrived = 0, False
        while True:
            try:
                return await self._once(operation, method, request)
            except (exceptions.ClientError, exceptions.HTTPClientError, OSError) as error:
                if not _passing(error):
                    raise
                arrived = arrived or _may_have_arrived(error)
                attempt += 1
                if attempt == ATTEMPTS:
                    if arrived and operation == "TransactWriteItems":
                        raise Lost(f"no answer came ({str(error) or type(error).__name__})") from error
                    raise
            await pause(attempt + 2, 1.0)

    async def _once(self, operation: str, method: Callable[..., Any], request: dict[str, Any]) -> dict[str, Any]:
        sent = self.clock.sent()
        try:
            answer: dict[str, Any] = await method(**request)
        except exceptions.ClientError as error:
            spending.note(operation, {})
            self._stamp(sent, error.response)
            raise
        spending.note(operation, answer)
        self._stamp(sent, answer)
        return answer

    def _stamp(self, sent: float, answer: Any) -> None:
        self.clock.answered(sent, answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date"))

    async def _read(self, operation: str, method: Callable[..., Any], request: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self.call(operation, method, request)
        except (exceptions.ClientError, exceptions.BotoCoreError, OSError) as error:
            raise translated(error, self.target) from error

    async def get(self, key: Key) -> Item | None:
        """The item, if there is one."""
        answer = await self._read("GetItem", self.client.get_item, self.requests.get(key))
        return plain(answer["Item"]) if answer.get("Item") else None

    async def get_many(self, keys: Iterable[Key]) -> dict[Key, Item]:
        """Those of the items that there are."""
        wanted = list(dict.fromkeys(keys))
        chunks = [wanted[start : start + BATCH_GET_MAX] for start in range(0, len(wanted), BATCH_GET_MAX)]
        if len(chunks) == 1:
            return await self._get_chunk(chunks[0])
        found: dict[Key, Item] = {}
        for items in await in_turns([self._get_chunk(chunk) for chunk in chunks]):
            found |= items
        return found

    async def _get_chunk(self, keys: Sequence[Key]) -> dict[Key, Item]:
        found: dict[Key, Item] = {}
        request = self.requests.batch_get(keys)
        attempt = 0
        while request["RequestItems"]:
            answer = await self._read("BatchGetItem", self.client.batch_get_item, request)
            items = [plain(each) for each in answer["Responses"].get(self.target.table, ())]
            found |= {key_of(item): item for item in items}
            request = {"RequestItems": answer.get("UnprocessedKeys") or {}}
            if request["RequestItems"] and not items:
                attempt += 1
                await pause(attempt)
        return found

    async def query(
        self, partition: str, low: str, high: str, *, limit: int | None = None, backwards: bool = False
    ) -> AsyncGenerator[Item, None]:
        """The items of a partition between two sort keys, page by page of ``limit`` items or what fits into 1 MB."""
        request = self.requests.query(partition, low, high, limit=limit, backwards=backwards)
        while True:
            answer = await self._read("Query", self.client.query, request)
            for each in answer["Items"]:
                yield plain(each)
            if not answer.get("LastEvaluatedKey"):
                return
            request = request | {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    async def scan(self) -> AsyncGenerator[Item, None]:
        """All items, in no order."""
        request = self.requests.scan()
        while True:
            answer = await self._read("Scan", self.client.scan, request)
            for each in answer["Items"]:
                yield plain(each)
            if not answer.get("LastEvaluatedKey"):
                return
            request = request | {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    async def put(self, item: Item, where: Where | None = None) -> None:
        """Put an item; repeating it is harmless. ``Refused`` where it is not as expected."""
        await self._write("PutItem", self.client.put_item, self.requests.put(item, where))

    async def delete(self, key: Key, where: Where | None = None) -> None:
        """Delete an item, if there is one. ``Refused`` where it is not as expected."""
        await self._write("DeleteItem", self.client.delete_item, self.requests.delete(key, where))

    async def update(self, key: Key, changes: dict[str, Any], where: Where | None = None) -> None:
        """Change attributes of an item. ``Refused`` where it is not as expected."""
        await self._write("UpdateItem", self.client.update_item, self.requests.update(key, changes, where))

    async def _write(self, operation: str, method: Callable[..., Any], request: dict[str, Any]) -> None:
        attempt = 0
        while True:
            try:
                await self.call(operation, method, request)
            except exceptions.ClientError as error:
                code = code_of(error)
                if code == "ConditionalCheckFailedException":
                    item = error.response.get("Item")
                    raise Refused([Reason("ConditionalCheckFailed", plain(item) if item else None)]) from error
                if code != "TransactionConflictException" or attempt > OVERLAPS_MAX:
                    raise translated(error, self.target) from error
                attempt += 1
                await pause(attempt)
            except (exceptions.BotoCoreError, OSError) as error:
                raise translated(error, self.target) from error
            else:
                return

    async def put_all(self, items: Sequence[Item]) -> None:
        """Put items, whatever is there, in any order; not all or none."""
        chunks = [items[start : start + BATCH_WRITE_MAX] for start in range(0, len(items), BATCH_WRITE_MAX)]
        await in_turns([self._write_chunk(self.requests.batch_put(chunk)) for chunk in _split(chunks)])

    async def delete_all(self, keys: Sequence[Key]) -> None:
        """Delete items, in any order; not all or none."""
        chunks = [keys[start : start + BATCH_WRITE_MAX] for start in range(0, len(keys), BATCH_WRITE_MAX)]
        await in_turns([self._write_chunk(self.requests.batch_delete(chunk)) for chunk in chunks])

    async def _write_chunk(self, request: dict[str, Any]) -> None:
        attempt = 0
        while request["RequestItems"]:
            answer = await self._read("BatchWriteItem", self.client.batch_write_item, request)
            request = {"RequestItems": answer.get("UnprocessedItems") or {}}
            if request["RequestItems"]:
                attempt += 1
                await pause(attempt, 1.0)

    async def transact(self, actions: Sequence[dict[str, Any]], *, overlaps_max: int = OVERLAPS_MAX) -> None:
        """All the actions or none.

        Sent again under one token while nothing is known to have been done. Raises ``Refused`` where a condition does
        not hold, ``Overlapped`` where other transactions come in between more than ``overlaps_max`` times, ``Lost``
        where no answer comes, and ``StoreUnavailable`` where nothing was written.
        """
        request = self.requests.transact(actions, str(uuid.uuid4()))
        attempt = 0
        while True:
            try:
                await self.call("TransactWriteItems", self.client.transact_write_items, request)
            except exceptions.ClientError as error:
                self._judge(error, attempt, overlaps_max)
                attempt += 1
                await pause(attempt)
            except (exceptions.BotoCoreError, OSError) as error:
                raise translated(error, self.target) from error
            else:
                return

    def _judge(self, error: exceptions.ClientError, attempt: int, overlaps_max: int) -> None:
        """Return where the transaction may be sent again; else raise what is to be said."""
        code = code_of(error)
        if code == "TransactionCanceledException":
            reasons = reasons_of(error.response)
            codes = {reason.code for reason in reasons}
            if "ConditionalCheckFailed" in codes:  # wins over what else was the matter: sending again would not help
                raise Refused(reasons) from error
            if "TransactionConflict" in codes:
                if attempt >= overlaps_max:
                    numbers = [n for n, reason in enumerate(reasons) if reason.code == "TransactionConflict"]
                    raise Overlapped(numbers) from error
                return
            throttled = sorted(codes & THROTTLED)
            if throttled and attempt < ATTEMPTS:
                return
            raise translated(_named(error, next(iter(throttled or codes - {"None"}), code)), self.target) from error
        if code in ("TransactionConflictException", "TransactionInProgressException"):
            if attempt >= max(overlaps_max, ATTEMPTS):
                raise Overlapped from error
            return
        raise translated(error, self.target) from error


def _as_stream(request: Any, **_: Any) -> None:
    """Large bodies are sent piece by piece: aiohttp warns that one piece would hold up the event loop."""
    if isinstance(request.body, bytes) and len(request.body) > PIECE_BYTES:
        request.body = io.BytesIO(request.body)


def _passing(error: Exception) -> bool:
    """Whether the same call may succeed in a moment."""
    if not isinstance(error, exceptions.ClientError):
        return True
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or code_of(error) in THROTTLED


def _may_have_arrived(error: Exception) -> bool:
    """Whether the service may have done what was asked, for all that is known."""
    if isinstance(error, exceptions.ClientError):
        return code_of(error) not in THROTTLED
    return not isinstance(error, (exceptions.EndpointConnectionError, exceptions.ConnectTimeoutError))


def _named(error: exceptions.ClientError, code: str) -> exceptions.ClientError:
    """The error under the code of the reason that matters."""
    message = error.response.get("Error", {}).get("Message", "")
    return exceptions.ClientError({"Error": {"Code": code, "Message": message}}, error.operation_name)


def _split(chunks: Sequence[Sequence[Item]]) -> list[Sequence[Item]]:
    """The chunks, none with more bytes than one ``BatchWriteItem`` takes (16 MB)."""
    found: list[Sequence[Item]] = []
    for chunk in chunks:
        size = sum(len(value) for item in chunk for value in item.values() if isinstance(value, (bytes, str)))
        half = len(chunk) // 2
        found += [chunk] if size < 8_000_000 else [chunk[:half], chunk[half:]]
    return found


async def in_turns(calls: Sequence[Any]) -> list[Any]:
    """The results of the calls, of which at most ``TOGETHER`` are under way at a time. The first error ends it."""
    found: list[Any] = []
    try:
        while calls:
            found += await asyncio.gather(*calls[:TOGETHER])
            calls = calls[TOGETHER:]
    finally:
        for call in calls[TOGETHER:]:
            call.close()
    return found
