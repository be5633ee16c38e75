"""Opening: the table is made where it is missing, and what kind of store it holds is read or settled."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import msgspec
from botocore import exceptions

from headwater.backends.dynamodb.faults import Refused, code_of, translated
from headwater.backends.dynamodb.keys import GLOBAL, INDEXED
from headwater.backends.dynamodb.requests import NEW, plain
from headwater.backends.dynamodb.service import Service
from headwater.errors import CorruptStore, StoreUnavailable

__all__ = ["FORMAT", "KEYS", "Facts", "prepared"]

FORMAT = 1
"""Number of the layout that ``keys`` describes."""
WAIT_SECONDS = 60.0

KEYS: dict[str, Any] = {
    "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "k", "KeyType": "RANGE"}],
    "AttributeDefinitions": [
        {"AttributeName": "p", "AttributeType": "S"},
        {"AttributeName": "k", "AttributeType": "S"},
    ],
    "BillingMode": "PAY_PER_REQUEST",
}


class Facts(msgspec.Struct, frozen=True):
    """What is settled when a store is made."""

    identity: str
    shards: int
    position: int


async def prepared(service: Service) -> Facts:
    """The facts of the store in the table; both are made where they are missing.

    Raises ``StoreUnavailable`` where the table is missing and may not be made, or was made by a newer Headwater, and
    ``CorruptStore`` where it holds something else.
    """
    target = service.target
    try:
        answer = await service.call("GetItem", service.client.get_item, service.requests.get(GLOBAL))
    except (exceptions.ClientError, exceptions.BotoCoreError, OSError) as error:
        if code_of(error) != "ResourceNotFoundException" or not target.create:
            raise translated(error, target) from error
        await _make_table(service)
    else:
        if answer.get("Item"):
            return _facts(service, plain(answer["Item"]))
        if not target.create:
            raise StoreUnavailable(f"{target.shown} holds no store", "Open it once without create=no.", transient=False)
    return await _make_store(service)


async def _make_store(service: Service) -> Facts:
    (p, k), (pw, kw) = GLOBAL, INDEXED
    item = {"p": p, "k": k, "v": 0, "f": FORMAT, "m": service.target.shards, "id": str(uuid.uuid4())}
    try:
        requests = service.requests
        await service.transact(
            [{"Put": requests.put(item, NEW)}, {"Put": requests.put({"p": pw, "k": kw, "v": 0}, NEW)}]
        )
    except Refused:  # another process was faster
        found = await service.get(GLOBAL)
        return _facts(service, found or {})
    return _facts(service, item)


def _facts(service: Service, item: dict[str, Any]) -> Facts:
    if "f" not in item or "id" not in item:
        raise CorruptStore(
            service.target.shown, "the table holds something else than a Headwater store", "Name another table."
        )
    if item["f"] > FORMAT:
        raise StoreUnavailable(
            f"{service.target.shown} was made by a newer Headwater (format {item['f']}, this one knows {FORMAT})",
            "Install a newer Headwater.",
            transient=False,
        )
    return Facts(item["id"], item["m"], item["v"])


async def _make_table(service: Service) -> None:
    """Make the table: paid by request, and with point-in-time recovery where the service has that."""
    client, target = service.client, service.target
    try:
        await service.call("CreateTable", client.create_table, {"TableName": target.table, **KEYS})
    except (exceptions.ClientError, exceptions.BotoCoreError, OSError) as error:
        if code_of(error) != "ResourceInUseException":  # else another process is making it
            raise translated(error, target) from error
    deadline = time.monotonic() + WAIT_SECONDS
    while not await _active(service):
        if time.monotonic() > deadline:
            raise StoreUnavailable(f"{target.shown} is still being made", "Open it again in a minute.")
        await asyncio.sleep(0.5)
    await _protect(service)


async def _active(service: Service) -> bool:
    try:
        answer = await service.call("DescribeTable", service.client.describe_table, {"TableName": service.target.table})
    except (exceptions.ClientError, exceptions.BotoCoreError, OSError) as error:
        if code_of(error) == "ResourceNotFoundException":  # not seen everywhere yet
            return False
        raise translated(error, service.target) from error
    return bool(answer["Table"]["TableStatus"] == "ACTIVE")


async def _protect(service: Service) -> None:
    """Point-in-time recovery. A service without it, or a role that may not turn it on, does without."""
    try:
        await service.client.update_continuous_backups(
            TableName=service.target.table,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        )
    except exceptions.ClientError as error:
        if code_of(error) not in _WITHOUT_RECOVERY:
            raise translated(error, service.target) from error
    except (exceptions.BotoCoreError, OSError) as error:
        raise translated(error, service.target) from error


_WITHOUT_RECOVERY = {
    "AccessDeniedException",
    "ContinuousBackupsUnavailableException",
    "UnknownOperationException",
    "ValidationException",
}
