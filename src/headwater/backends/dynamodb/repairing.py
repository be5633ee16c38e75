"""After a restore: a table that holds parts of the last transactions is brought back to whole appends.

DynamoDB restores a table item by item: of transactions that were under way at the chosen moment, some items may be
there without the others. What is mended, in this order, each step safe to be repeated:

1. Commits of appends that are not whole, or come after a missing one in their stream, are kept aside: ``Q#…``.
2. The log ends before its first page that tells of a commit which is not there.
3. What has no position any more goes through the outbox; ids, heads and the list of streams tell what there is.

Nobody else may use the table meanwhile.
"""

from __future__ import annotations

import itertools
import sqlite3
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec

from headwater.backends.dynamodb.commits import Taken, read
from headwater.backends.dynamodb.heads import Head, Heads
from headwater.backends.dynamodb.index import SEGMENT
from headwater.backends.dynamodb.inventory import inventory, row_of, take_stock
from headwater.backends.dynamodb.keys import (
    GLOBAL,
    INDEXED,
    commit_key,
    head_key,
    id_key,
    listed_key,
    outbox,
    place_key,
    shard_of,
    stream_of,
    z,
)
from headwater.backends.dynamodb.rows import decoded_rows, encoded_rows
from headwater.backends.dynamodb.sequencer import Sequencer
from headwater.backends.dynamodb.service import Service
from headwater.errors import CorruptStore

__all__ = ["Repair"]

_decode_status = msgspec.msgpack.Decoder(list[tuple[str, int, int]]).decode


class Repair:
    """Mends one table."""

    def __init__(self, service: Service, shards: int) -> None:
        self._service = service
        self._shards = shards
        self._done: list[str] = []

    async def run(self) -> list[str]:
        """Mend it; what was done, in sentences. Empty where all was well."""
        with inventory() as stock:
            await take_stock(self._service, stock)
            _judge(stock)
            await self._set_aside(stock)
            await self._end_log(stock)
            await self._place(stock)
            await self._queue(stock)
            await self._mend_ids(stock)
            await self._mend_heads(stock)
        await Sequencer(self._service, Heads(self._service), self._shards, lambda: None).settle()
        return self._done

    async def _set_aside(self, stock: sqlite3.Connection) -> None:
        """Keep what can't be part of its stream where nothing reads it."""
        for partition, first, count in stock.execute("select partition, first, count from commits where not kept"):
            item = await self._service.get(commit_key(partition, first))
            if item is None:
                continue
            aside = f"Q#{partition}"
            await self._service.put(item | {"p": aside})
            await self._service.delete(commit_key(partition, first))
            await self._service.delete(place_key(partition, first))
            self._done.append(
                f"{_named(partition)}: versions {first} to {first + count - 1} are not whole, or what came before them "
                f"is missing: kept aside in partition {aside!r}"
            )

    async def _end_log(self, stock: sqlite3.Connection) -> None:
        """Take the pages away from the first one on that does not fit, and say where the log ends."""
        position = _walk(stock)
        gone = stock.execute("select partition, position from pages where position > ?", (position,)).fetchall()
        await self._service.delete_all([(partition, z(start)) for partition, start in gone])
        if gone:
            self._done.append(f"the log ended in the middle of an append: {len(gone)} pages after {position} are gone")
        item = await self._service.get(GLOBAL)
        if item is None:
            raise CorruptStore(self._service.target.shown, "its last position is missing", "Restore another moment.")
        if item["v"] != position:
            await self._service.update(GLOBAL, {"v": position})
            self._done.append(f"the last position is {position}; the table said {item['v']}")
        indexed = await self._service.get(INDEXED)
        most = position // SEGMENT
        if indexed is None or indexed["v"] > most:
            p, k = INDEXED
            await self._service.put({"p": p, "k": k, "v": 0 if indexed is None else most})
            self._done.append("the index of queries is made anew at its end")

    async def _place(self, stock: sqlite3.Connection) -> None:
        """Let each commit say its position as the log does."""
        wrong = stock.execute(
            "select c.partition, c.first, c.position, p.position, c.placed from commits c"
            " left join places p using (partition, first)"
            " where kept and coalesce(c.position, p.position) is not c.placed"
        )
        for partition, first, own, beside, placed in wrong:
            if own is not None:
                await self._service.update(commit_key(partition, first), {"g": None})
            if placed is not None:
                p, k = place_key(partition, first)
                await self._service.put({"p": p, "k": k, "g": placed})
            elif beside is not None:
                await self._service.delete(place_key(partition, first))
            self._done.append(f"{_named(partition)}: version {first} said another position than the log")
        orphans = stock.execute(
            "select p.partition, p.first from places p left join commits c using (partition, first)"
            " where c.kept is null or not c.kept"
        ).fetchall()
        await self._service.delete_all([place_key(partition, first) for partition, first in orphans])

    async def _queue(self, stock: sqlite3.Connection) -> None:
        """Put what has no position into the outbox, and nothing else."""
        waiting = {
            (partition, first): recorded_us
            for partition, first, recorded_us in stock.execute(
                "select partition, first, recorded_us from commits where kept and placed is null"
            )
        }
        for shard, name, rows in stock.execute("select shard, name, rows from markers"):
            commits = {(row.partition, row.first) for row in decoded_rows(rows)}
            if commits <= waiting.keys():
                for commit in commits:
                    del waiting[commit]
            else:
                await self._service.delete((outbox(shard), name))
                self._done.append("the outbox told of an append that is not whole, or has its position already")
        for (partition, first), recorded_us in waiting.items():
            item = await self._service.get(commit_key(partition, first))
            assert item is not None
            row = row_of(partition, first, await read(self._service, [Taken(item, 0, 0, item["n"] - 1)]))
            name = uuid.uuid4().hex
            p = outbox(shard_of(name, self._shards))
            await self._service.put({"p": p, "k": name, "t": recorded_us, "r": encoded_rows([row])})
            self._done.append(f"{_named(partition)}: versions {first} to {first + row.count - 1} get positions anew")

    async def _mend_ids(self, stock: sqlite3.Connection) -> None:
        """Each event is found by its id, and no id without an event."""
        _resolve_claims(stock)
        missing = stock.execute(
            "select e.id, e.partition, e.first, e.ordinal from events e join commits c using (partition, first)"
            " left join ids i on i.id = e.id where c.kept and (i.id is null"
            " or (i.partition, i.first, i.ordinal) is not (e.partition, e.first, e.ordinal)"
            " or i.position is not null and i.position is not c.placed + e.ordinal)"
        ).fetchall()
        for id, partition, first, ordinal in missing:
            p, k = id_key(id)
            await self._service.put({"p": p, "k": k, "q": partition, "f": first, "i": ordinal})
        stale = stock.execute(
            "select i.id from ids i left join commits c using (partition, first)"
            " where i.partition is not null and (c.kept is null or not c.kept)"
        ).fetchall()
        await self._service.delete_all([id_key(id) for (id,) in stale])
        if missing or stale:
            self._done.append(f"{len(missing)} ids were not found rightly, {len(stale)} were of no event")

    async def _mend_heads(self, stock: sqlite3.Connection) -> None:
        """Each stream's head and its place in the list tell of its last commit."""
        streams = stock.execute(
            "select substr(partition, 3), max(first + count - 1), max(case when placed then first + count - 1 end),"
            " min(recorded_us), max(recorded_us) from commits where kept and partition like 'S#%' group by partition"
        )
        kept = {stream: rest for stream, *rest in streams}
        heads = {stream: rest for stream, *rest in stock.execute("select * from heads")}
        for stream in sorted(kept.keys() | heads.keys()):
            version, placed, created_us, last_us = kept.get(stream, (0, 0, 0, 0))
            sequenced = placed or 0
            if stream not in heads:
                head = Head(version, sequenced, created_us=created_us, last_us=last_us)
                await self._service.put(head.item(stream))
                self._done.append(f"stream {stream!r} had no head: it is at version {version}")
                continue
            said, seen, state, hidden = heads[stream]
            if said == version and seen <= sequenced:
                continue
            if version == 0 and state == "open":
                await self._service.delete(head_key(stream))
                await self._service.delete(listed_key(stream, self._shards))
            else:
                changes: dict[str, Any] = {"v": version, "q": min(seen, sequenced), "hid": min(hidden, version) or None}
                await self._service.update(head_key(stream), changes)
            if said != version:
                self._done.append(f"stream {stream!r} is at version {version}; its head said {said}")
        listed = {stream for (stream,) in stock.execute("select stream from listed")}
        for stream in sorted((kept.keys() | heads.keys()) - listed):
            p, k = listed_key(stream, self._shards)
            await self._service.put({"p": p, "k": k})
            self._done.append(f"stream {stream!r} was not listed")


def _named(partition: str) -> str:
    stream = stream_of(partition)
    return "an append without a stream" if stream is None else f"stream {stream!r}"


def _judge(stock: sqlite3.Connection) -> None:
    """Mark the commits that are to be kept: all of their append is there, and all that went before in its streams."""
    while True:
        _mark_following(stock)
        parted = stock.execute(
            "update commits set whole = 0 where kept and (partition, first) in"
            " (select m.partition, m.first from mates m left join commits c"
            " on (c.partition, c.first) = (m.other, m.other_first) where c.kept is null or not c.kept)"
        )
        if parted.rowcount == 0:
            return


def _mark_following(stock: sqlite3.Connection) -> None:
    """Mark the commits that are whole and follow each other from the first of their stream on."""
    stock.execute("update commits set kept = 0")
    commits = stock.execute("select partition, first, count, whole from commits order by partition, first").fetchall()
    for partition, of_stream in itertools.groupby(commits, key=lambda each: each[0]):
        version = 0
        for _, first, count, whole in of_stream:
            if not whole or first != version + 1:
                break
            version += count
            stock.execute("update commits set kept = 1 where partition = ? and first = ?", (partition, first))


def _walk(stock: sqlite3.Connection) -> int:
    """Give the commits their positions by the log, up to its first page that does not fit; the last position."""
    last = 0
    versions: dict[str, int] = {}
    for position, count, rows in stock.execute("select position, count, rows from pages order by position").fetchall():
        placed = list(_fitting(stock, decoded_rows(rows), versions)) if position == last + 1 else []
        if sum(each[2] for each in placed) != count:
            break
        for partition, first, of_commit in placed:
            stock.execute(
                "update commits set placed = ? where partition = ? and first = ?", (last + 1, partition, first)
            )
            versions[partition] = first + of_commit - 1
            last += of_commit
    return last


def _fitting(stock: sqlite3.Connection, rows: list[Any], versions: dict[str, int]) -> Iterator[tuple[str, int, int]]:
    """The rows of a page that tell of commits which are there, in the order of their streams."""
    ahead: dict[str, int] = {}
    for row in rows:
        found = stock.execute(
            "select 1 from commits where partition = ? and first = ? and count = ? and kept",
            (row.partition, row.first, row.count),
        ).fetchone()
        before = ahead.get(row.partition, versions.get(row.partition, 0))
        if found is None or row.first != before + 1:
            return
        ahead[row.partition] = row.first + row.count - 1
        yield row.partition, row.first, row.count


def _resolve_claims(stock: sqlite3.Connection) -> None:
    """Ids that name a staged append: to which event they lead by its status. Those without one lead nowhere yet."""
    for append, commits in stock.execute("select append, commits from statuses where commits is not null").fetchall():
        start = 0
        for partition, first, count in _decode_status(commits):
            stock.execute(
                "update ids set partition = ?, first = ?, ordinal = number - ?"
                " where append = ? and number >= ? and number < ?",
                (partition, first, start, append, start, start + count),
            )
            start += count
