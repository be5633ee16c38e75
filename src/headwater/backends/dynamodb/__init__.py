"""Amazon DynamoDB: one table, one region. Appends are transactions; any process gives positions for all.

``dynamodb://table?region=…``; see ``url`` for what else the URL may say, and ``spending`` for what calls cost.
"""

from __future__ import annotations

from headwater.backends.dynamodb.backend import DynamoDBBackend
from headwater.backends.dynamodb.repairing import Repair
from headwater.backends.dynamodb.service import Service
from headwater.backends.dynamodb.spending import Spent, spending
from headwater.backends.dynamodb.table import prepared
from headwater.backends.dynamodb.templates import template
from headwater.backends.dynamodb.url import parse
from headwater.limits import Limits

__all__ = ["DynamoDBBackend", "Spent", "open", "repair", "spending", "template"]


async def open(url: str, limits: Limits) -> DynamoDBBackend:
    """The store at the URL; table and store are made where they are missing.

    Raises ``BadUrl``; ``StoreUnavailable`` where the service can't be reached or used, or the store was made by a newer
    Headwater; ``CorruptStore`` where the table holds something else.
    """
    service = Service(parse(url))
    await service.open()
    try:
        return DynamoDBBackend(service, await prepared(service), limits)
    except BaseException:
        await service.close()
        raise


async def repair(url: str) -> list[str]:
    """Mend the table at the URL after a restore; what was done, in sentences. Nobody else may use it meanwhile.

    Raises as ``open`` does.
    """
    service = Service(parse(url))
    await service.open()
    try:
        facts = await prepared(service)
        return await Repair(service, facts.shards).run()
    finally:
        await service.close()
