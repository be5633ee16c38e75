"""Which version readers see under the plain names of the tables, and the end of one that nobody needs any more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from headwater.projections.bookkeeping import Bookkeeping, prepare_target, versions_of
from headwater.projections.handling import InvalidProjection
from headwater.projections.targets import Connection, Target
from headwater.store import EventStore
from headwater.subscriptions.consumers import Consumers

__all__ = ["consumer_name", "drop_version", "switch_to"]


def switch_to(
    connection: Connection, target: Target, rows: Bookkeeping, real: Mapping[str, str], before: Iterable[str]
) -> None:
    """Point the plain names at a version's tables (``real``), and take away those that only ``before`` had."""
    for name in before:
        if name not in real:
            connection.execute(f"drop view {name}")
    for name, table in real.items():
        target.replace_view(connection, name, table)
    rows.serve(connection)


def consumer_name(name: str, version: int, target_id: str, partitions: int) -> str:
    """The consumer that runs a version. Its parts are dealt among the runners of one target, so that is part of it."""
    return f"{name}.v{version}.{target_id[:8]}.{partitions}"


async def drop_version(store: EventStore, target: Target, name: str, version: int) -> None:
    """Remove a version that does not serve: its tables, and its consumer in the store.

    Raises ``InvalidProjection`` where it serves or is not there.
    """
    target_id = await asyncio.to_thread(prepare_target, target)
    parts = await asyncio.to_thread(_remove, target, name, version)
    if store.capabilities.records:
        consumers, consumer = Consumers(store._backend), consumer_name(name, version, target_id, parts)
        if await consumers.about(consumer) is not None:
            await consumers.drop(consumer)


def _remove(target: Target, name: str, version: int) -> int:
    """The number of parts that it was run in."""
    with target.transaction(alone=True) as connection:
        versions = {each.version: each for each in versions_of(connection, name)}
        if version not in versions:
            known = ", ".join(map(str, versions)) or "none"
            raise InvalidProjection(name, f"{target.name} has no version {version}", f"It has: {known}.")
        if versions[version].serving:
            raise InvalidProjection(
                name, f"version {version} serves, so it can't be dropped", "Switch to another version first."
            )
        for table in reversed(versions[version].tables):
            connection.execute(f"drop table {table}_v{version}")
        Bookkeeping(name, version, target.row_lock).drop(connection)
        return versions[version].parts
