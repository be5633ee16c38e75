"""Everything that a table holds of its log, side by side in a temporary database, so that it can be compared."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from headwater.backends.dynamodb.commits import Taken, first_of, read
from headwater.backends.dynamodb.requests import Item
from headwater.backends.dynamodb.rows import Row, decoded_mates, outlined
from headwater.backends.dynamodb.service import Service
from headwater.errors import CorruptStore
from headwater.events import Event

__all__ = ["inventory", "row_of", "take_stock"]

_TABLES = {
    "commits": "partition, first integer, count integer, position integer, recorded_us integer, whole, kept default 0, "
    "placed integer, primary key (partition, first)",
    "mates": "partition, first integer, other, other_first integer",
    "events": "id primary key, partition, first integer, ordinal integer",
    "ids": "id primary key, partition, first integer, ordinal integer, position integer, append, number integer",
    "heads": "stream primary key, version integer, sequenced integer, state, hidden integer",
    "listed": "stream primary key",
    "places": "partition, first integer, position integer, primary key (partition, first)",
    "markers": "shard integer, name, rows, primary key (shard, name)",
    "pages": "position integer primary key, partition, count integer, rows",
    "statuses": "append primary key, commits",
}
"""Table → columns."""


@contextmanager
def inventory() -> Iterator[sqlite3.Connection]:
    """An empty one, on disk, gone at the end."""
    with closing(sqlite3.connect("", isolation_level=None)) as connection:
        for table, columns in _TABLES.items():
            connection.execute(f"create table {table} ({columns})")
        yield connection


async def take_stock(service: Service, stock: sqlite3.Connection) -> None:
    """Read the whole table."""
    async for item in service.scan():
        kind, _, name = item["p"].partition("#")
        match kind:
            case "S" if item["k"] == "H":
                values = (name, item["v"], item["q"], item["st"], item.get("hid", 0))
                _put(stock, "heads", values)
            case "S" | "U" if item["k"].endswith("#P"):
                _put(stock, "places", (item["p"], int(item["k"][2:21]), item["g"]))
            case "S" | "U":
                await _take_commit(service, stock, item)
            case "I":
                found = [item.get(each) for each in ("q", "f", "i", "g", "a", "j")]
                _put(stock, "ids", (bytes.fromhex(name), *found))
            case "D":
                _put(stock, "listed", (item["k"][1:],))
            case "O":
                _put(stock, "markers", (int(name), item["k"], item["r"]))
            case "L":
                _put(stock, "pages", (int(item["k"]), item["p"], item["n"], item["r"]))
            case "A" if item["k"] == "H":
                _put(stock, "statuses", (name, item.get("w")))


async def _take_commit(service: Service, stock: sqlite3.Connection, item: Item) -> None:
    """A commit, and the ids of its events; not whole where bytes that were staged for it are missing."""
    first = first_of(item)
    try:
        events = await read(service, [Taken(item, 0, 0, item["n"] - 1)])
    except CorruptStore:
        events = []
    whole = len(events) == item["n"]
    _put(stock, "commits", (item["p"], first, item["n"], item.get("g"), item["t"], whole, 0, None))
    for other in decoded_mates(item["m"]) if "m" in item else ():
        _put(stock, "mates", (item["p"], first, *other))
    for ordinal, event in enumerate(events):
        _put(stock, "events", (event.raw_id, item["p"], first, ordinal))


def _put(stock: sqlite3.Connection, table: str, values: tuple[object, ...]) -> None:
    marks = ", ".join("?" * len(values))
    stock.execute(f"insert or replace into {table} values ({marks})", values)  # noqa: S608  # our own table's name


def row_of(partition: str, first: int, events: list[Event]) -> Row:
    """How the log tells of a commit with these events."""
    size = sum(len(event.raw_data) + len(event.raw_metadata) for event in events)
    return Row(partition, first, len(events), size, outlined(events))
