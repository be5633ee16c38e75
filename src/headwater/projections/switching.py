"""Which version readers see under the plain names of the tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from headwater.projections.bookkeeping import Bookkeeping, versions_of
from headwater.projections.handling import InvalidProjection
from headwater.projections.targets import Connection, Target

__all__ = ["drop_version", "switch_to"]


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


def drop_version(target: Target, name: str, version: int) -> None:
    """Remove a version that does not serve, tables and all. ``InvalidProjection`` where it serves or is not there."""
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
