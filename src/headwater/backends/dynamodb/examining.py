"""What can be wrong with the table below a store, and what waits for a position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore import exceptions

from headwater.backend import Examined
from headwater.backends.dynamodb.faults import code_of, translated
from headwater.backends.dynamodb.keys import END, outbox
from headwater.backends.dynamodb.service import Service

__all__ = ["examine"]

CLOCK_SECONDS = 1.0
"""A difference between two clocks that is worth knowing: leases go by the service's."""
WAITING_SECONDS = 10.0
"""An append that waits longer for its position is waited for by nobody."""

_UNTOLD = {"AccessDeniedException", "UnknownOperationException", "ValidationException"}
"""Codes of a role that may not ask, and of services that can't answer."""


async def examine(service: Service, shards: int) -> list[Examined]:
    """Everything, in a fixed order. Raises ``StoreUnavailable``."""
    name = {"TableName": service.target.table}
    table = (await _asked(service, "DescribeTable", service.client.describe_table, name) or {}).get("Table", {})
    backups = await _asked(service, "DescribeContinuousBackups", service.client.describe_continuous_backups, name)
    expiry = await _asked(service, "DescribeTimeToLive", service.client.describe_time_to_live, name)
    return [
        _table(table),
        _capacity(table),
        _replicas(table),
        _recovery(backups),
        _expiry(expiry),
        _clock(service.clock.ahead_us() / 1_000_000),
        await _outbox(service, shards),
    ]


async def _asked(service: Service, operation: str, method: Any, request: dict[str, Any]) -> dict[str, Any] | None:
    """The answer; None where the role may not ask."""
    try:
        return await service.call(operation, method, request)
    except (exceptions.ClientError, exceptions.BotoCoreError, OSError) as error:
        if code_of(error) in _UNTOLD:
            return None
        raise translated(error, service.target) from error


def _table(table: Mapping[str, Any]) -> Examined:
    if not table:
        return _untold("table", "dynamodb:DescribeTable")
    protected = bool(table.get("DeletionProtectionEnabled"))
    items, size = table.get("ItemCount", 0), table.get("TableSizeBytes", 0)
    finding = f"{items:,} items, {size:,} bytes (as counted every six hours)"
    if protected:
        return Examined("table", "well", f"{finding}; protected from deletion")
    return Examined("table", "note", f"{finding}; one call can delete it", "Turn its deletion protection on.")


def _capacity(table: Mapping[str, Any]) -> Examined:
    mode = table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    if mode == "PAY_PER_REQUEST":
        return Examined("capacity", "well", "paid by request")
    given = table.get("ProvisionedThroughput", {})
    return Examined(
        "capacity",
        "note",
        f"{given.get('WriteCapacityUnits', 0)} write and {given.get('ReadCapacityUnits', 0)} read units a second: "
        "a small append takes about ten write units",
        "Make it on-demand, or let it scale by itself.",
    )


def _replicas(table: Mapping[str, Any]) -> Examined:
    regions = [each.get("RegionName", "?") for each in table.get("Replicas", ())]
    if not regions:
        return Examined("regions", "well", "one")
    return Examined(
        "regions",
        "wrong",
        f"the table is replicated to {', '.join(regions)}: between regions the last writer wins, whatever an append "
        "expects",
        "Write in one region only, and open the others with create=no for nothing but a look; or remove the replicas.",
    )


def _recovery(answer: Mapping[str, Any] | None) -> Examined:
    if answer is None:
        return _untold("recovery", "dynamodb:DescribeContinuousBackups")
    described = answer.get("ContinuousBackupsDescription", {}).get("PointInTimeRecoveryDescription", {})
    if described.get("PointInTimeRecoveryStatus") == "ENABLED":
        days = described.get("RecoveryPeriodInDays", 35)
        return Examined("recovery", "well", f"to any second of the last {days} days")
    return Examined(
        "recovery",
        "note",
        "point-in-time recovery is off: what a program deletes by mistake is gone",
        "Turn it on (aws dynamodb update-continuous-backups).",
    )


def _expiry(answer: Mapping[str, Any] | None) -> Examined:
    if answer is None:
        return _untold("expiry", "dynamodb:DescribeTimeToLive")
    described = answer.get("TimeToLiveDescription", {})
    if described.get("TimeToLiveStatus", "DISABLED") in ("DISABLED", "DISABLING"):
        return Examined("expiry", "well", "nothing expires")
    return Examined(
        "expiry",
        "wrong",
        f"time to live is on, by the attribute {described.get('AttributeName')!r}: DynamoDB deletes items by itself",
        "Turn it off, and run headwater verify.",
    )


def _clock(seconds: float) -> Examined:
    finding = f"the service's is {seconds:+.2f} s from this machine's, as far as it tells (to the second)"
    if abs(seconds) <= CLOCK_SECONDS:
        return Examined("clock", "well", finding)
    return Examined(
        "clock", "note", finding, "Let this machine follow a time service; Headwater goes by the service's."
    )


async def _outbox(service: Service, shards: int) -> Examined:
    times = [item["t"] for shard in range(shards) async for item in service.query(outbox(shard), "0", END)]
    if not times:
        return Examined("outbox", "well", "every append has its position")
    seconds = (service.clock.now_us() - min(times)) / 1_000_000
    finding = f"{len(times):,} appends wait for their positions, the oldest for {seconds:.0f} s"
    if seconds <= WAITING_SECONDS:
        return Examined("outbox", "well", finding)
    return Examined("outbox", "note", finding, "Any reader of the log, or any append, gives them theirs.")


def _untold(subject: str, action: str) -> Examined:
    return Examined(subject, "note", "the service or the role does not tell", f"Allow {action}, to have it looked at.")
