"""Two versions of a projection beside each other: the databases find what differs, we hold the first examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from headwater.projections.bookkeeping import Version, versions_of
from headwater.projections.handling import InvalidProjection
from headwater.projections.targets import Connection, Target

__all__ = ["Comparison", "Difference", "TableComparison", "compare"]


class Difference(msgspec.Struct, frozen=True):
    """A row that is not the same in both versions: ``kind`` says where it is, or that it ``changed``."""

    kind: Literal["only_old", "only_new", "changed"]
    key: dict[str, Any]
    old: dict[str, Any]
    """Columns other than the key's that both versions have; empty where the row is only in the new one."""
    new: dict[str, Any]


class TableComparison(msgspec.Struct):
    """A table in both versions."""

    table: str
    rows_old: int
    rows_new: int
    columns_only_old: list[str]
    """Columns that the other version has not; they are not compared."""
    columns_only_new: list[str]
    only_old: int = 0
    only_new: int = 0
    changed: int = 0
    examples: list[Difference] = []

    @property
    def same(self) -> bool:
        """Whether every row is the same in the columns that both have."""
        return not (self.only_old or self.only_new or self.changed)


class Comparison(msgspec.Struct):
    """The version that serves (old) beside another one (new), in one snapshot."""

    projection: str
    old: int
    new: int
    position_old: int
    position_new: int
    tables: list[TableComparison]
    tables_only_old: list[str]
    tables_only_new: list[str]

    @property
    def same(self) -> bool:
        """Whether every row of the tables that both have is the same."""
        return all(each.same for each in self.tables)


def compare(target: Target, name: str, version: int, examples: int) -> Comparison:
    """The serving version of a projection beside this one."""
    with target.snapshot() as connection:
        versions = versions_of(connection, name)
        old = next((each for each in versions if each.serving), None)
        new = next((each for each in versions if each.version == version), None)
        if old is None or new is None or old.version == new.version:
            raise InvalidProjection(
                name,
                f"version {version} has no other version beside it that serves",
                "Build one beside it, then compare that; after the switch, compare the one that served before.",
            )
        both = [table for table in new.tables if table in old.tables]
        return Comparison(
            projection=name,
            old=old.version,
            new=new.version,
            position_old=old.position,
            position_new=new.position,
            tables=[_Tables(target, connection, old, new, table).compare(examples) for table in both],
            tables_only_old=[table for table in old.tables if table not in both],
            tables_only_new=[table for table in new.tables if table not in both],
        )


class _Tables:
    """One table of two versions."""

    def __init__(self, target: Target, connection: Connection, old: Version, new: Version, table: str) -> None:
        self._connection = connection
        self._differs = target.differs
        self._table = table
        self._old, self._new = f"{table}_v{old.version}", f"{table}_v{new.version}"
        self._old_columns, key = target.columns(connection, self._old)
        self._new_columns, new_key = target.columns(connection, self._new)
        if not key or key != new_key:
            raise InvalidProjection(
                old.name, f"the table {table} has no primary key that is the same in both versions", "Declare one."
            )
        self._key = key
        self._rest = [each for each in self._old_columns if each in self._new_columns and each not in key]

    def compare(self, examples: int) -> TableComparison:
        """Count the rows that differ, and keep some."""
        old_rows, new_rows = (
            self._connection.rows(f"select count(*) from {table}")[0][0] for table in (self._old, self._new)
        )
        found = TableComparison(
            self._table,
            old_rows,
            new_rows,
            [each for each in self._old_columns if each not in self._new_columns],
            [each for each in self._new_columns if each not in self._old_columns],
        )
        for row in self._connection.each(self._differing()):
            difference = self._difference(row)
            match difference.kind:
                case "changed":
                    found.changed += 1
                case "only_old":
                    found.only_old += 1
                case "only_new":
                    found.only_new += 1
            if len(found.examples) < examples:
                found.examples.append(difference)
        return found

    def _differing(self) -> str:
        """The rows of the old table that have no equal in the new one, and the new table's without an old one."""
        same_key = " and ".join(f"o.{column} = n.{column}" for column in _quoted(self._key))
        differs = "".join(f" or o.{column} {self._differs} n.{column}" for column in _quoted(self._rest))
        first = _quoted(self._key)[0]
        old, new = f"{self._old} o", f"{self._new} n"
        columns = [*self._key, *self._rest]
        both = [f"{side}.{column}" for side in "on" for column in _quoted(columns)]
        missing = [*("null" for _ in columns), *both[len(columns) :]]
        return (
            f"select n.{first} is null as only_old, false as only_new, {', '.join(both)} "
            f"from {old} left join {new} on {same_key} where n.{first} is null{differs} "
            f"union all select false, true, {', '.join(missing)} "
            f"from {new} left join {old} on {same_key} where o.{first} is null"
        )

    def _difference(self, row: Sequence[Any]) -> Difference:
        columns = [*self._key, *self._rest]
        old = dict(zip(columns, row[2 : 2 + len(columns)], strict=True))
        new = dict(zip(columns, row[2 + len(columns) :], strict=True))
        key = {name: (new if row[1] else old)[name] for name in self._key}
        kind: Literal["only_old", "only_new", "changed"] = "only_old" if row[0] else "only_new" if row[1] else "changed"
        return Difference(
            kind,
            key,
            {} if row[1] else {name: old[name] for name in self._rest},
            {} if row[0] else {name: new[name] for name in self._rest},
        )


def _quoted(columns: Sequence[str]) -> list[str]:
    return ['"' + each.replace('"', '""') + '"' for each in columns]
