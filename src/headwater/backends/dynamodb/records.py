"""Records beside the log: small values by name, changed by compare-and-swap, many at a time or none.

A revision is the time of its save by DynamoDB's clock (see ``clock``), and more than the last one. A record that is
removed leaves its revision behind for a while, so that whoever saves the name again rises above it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from headwater.backend import Record, RecordChange
from headwater.backends.dynamodb.blobs import Blobs
from headwater.backends.dynamodb.faults import Lost, Overlapped, Refused
from headwater.backends.dynamodb.keys import Key, named
from headwater.backends.dynamodb.requests import ACTIONS_MAX, NEW, Item
from headwater.backends.dynamodb.service import Service, in_turns, pause
from headwater.errors import StaleRecord, StoreUnavailable, TooLarge

__all__ = ["Records"]

PARTITION = "R"
LAST = "$"
INLINE_MAX = 30_000
"""Bytes of a value in the record's own item: a hundred of them fit into one transaction."""
GONE_US = 300_000_000
"""A removed record's revision is remembered for at least so long: many times what two clocks can differ by."""
ATTEMPTS_MAX = 200


class _Value(msgspec.Struct, frozen=True):
    """A value as it is stored: in the item, or beside it."""

    attributes: dict[str, Any]
    blob: tuple[str, int] | None = None


class Records:
    """Loads and saves records."""

    def __init__(self, service: Service, blobs: Blobs) -> None:
        self._service = service
        self._blobs = blobs

    async def load(self, prefix: str, after: str, limit: int) -> list[Record]:
        """See ``Backend.load_records``."""
        low = max(named(prefix), named(after), key=str.encode)
        found: list[Record] = []
        gone: list[Item] = []
        async for item in self._service.query(PARTITION, low, LAST, limit=min(limit + 1, 1_000)):
            name = item["k"][1:]
            if not name.startswith(prefix) or len(found) == limit:
                break
            if name == after:
                continue
            if "x" in item:
                gone.append(item)
            else:
                record = await self._record(item)
                found += [record] if record is not None else []
        await self._sweep(gone)
        return found

    async def _record(self, item: Item) -> Record | None:
        """The record of an item; read again where its value was replaced meanwhile."""
        while True:
            value = item["b"] if "b" in item else await self._blobs.load(item["bn"], item["bc"])
            if value is not None:
                age_us = max(0, self._service.clock.now_us() - item["t"])
                return Record(item["k"][1:], value, item["v"], age_us)
            again = await self._service.get((item["p"], item["k"]))
            if again is None or "x" in again:
                return None
            if again["v"] == item["v"]:
                raise self._blobs.damaged(f"the record {item['k'][1:]!r}")
            item = again

    async def _sweep(self, gone: Sequence[Item]) -> None:
        """Forget what was removed long ago."""
        now = self._service.clock.now_us()
        old = [item for item in gone if now - item["t"] > GONE_US]
        await in_turns([self._forget(item) for item in old])

    async def _forget(self, item: Item) -> None:
        with suppress(Refused):  # used again
            await self._service.delete((item["p"], item["k"]), {"v": item["v"]})

    async def save(self, changes: Sequence[RecordChange]) -> list[int]:
        """See ``Backend.save_records``.

        Up to 100 changes are one transaction. Of more, unconditional removals are made in others after it, as many as
        are too many; ``TooLarge`` where that is not enough.
        """
        head, rest = _split(changes)
        revisions = dict(zip([change.name for change in head], await self._save(head), strict=True))
        for start in range(0, len(rest), ACTIONS_MAX):
            await self._save(rest[start : start + ACTIONS_MAX])
        return [revisions.get(change.name, 0) for change in changes]

    async def _save(self, changes: Sequence[RecordChange]) -> list[int]:
        values = [await self._value(change) for change in changes]
        try:
            revisions, replaced = await self._swap(changes, values)
        except StaleRecord:
            await self._forget_blobs([value.blob for value in values])
            raise
        await self._forget_blobs([_blob_of(item) for item in replaced])
        return revisions

    async def _value(self, change: RecordChange) -> _Value:
        if change.value is None:
            return _Value({"x": True})
        if len(change.value) <= INLINE_MAX:
            return _Value({"b": change.value})
        name, count = await self._blobs.save(change.value)
        return _Value({"bn": name, "bc": count}, (name, count))

    async def _swap(self, changes: Sequence[RecordChange], values: Sequence[_Value]) -> tuple[list[int], list[Item]]:
        """The new revisions, and the items that were replaced as far as they are known."""
        keys: list[Key] = [(PARTITION, named(change.name)) for change in changes]
        known: dict[Key, Item] | None = None
        lost = False
        for attempt in range(ATTEMPTS_MAX):
            if known is None and (lost or any(change.expected is None for change in changes)):
                known = await self._service.get_many(keys)
            if known is not None:
                stored = self._ours(values, keys, known, changes) if lost else None
                if stored is not None:
                    return stored, []
                _refuse_stale(changes, keys, known)
            items = self._items(changes, values, keys, known)
            try:
                actions = [{"Put": self._service.requests.put(item, where)} for item, where in items]
                await self._service.transact(actions)
            except Refused:
                known = await self._service.get_many(keys)
                await pause(min(attempt, 3))
            except Overlapped:
                known = None
            except Lost:
                lost = True
                known = None
            else:
                return [0 if "x" in item else item["v"] for item, _ in items], list((known or {}).values())
        raise StoreUnavailable(f"{self._service.target.shown}: the records are too busy to change", "Try again.")

    def _items(
        self,
        changes: Sequence[RecordChange],
        values: Sequence[_Value],
        keys: Sequence[Key],
        known: dict[Key, Item] | None,
    ) -> list[tuple[Item, dict[str, Any]]]:
        """The new items, and what must stand there now: what the change expects, and what is known besides."""
        now = self._service.clock.now_us()
        items = []
        for change, value, (p, k) in zip(changes, values, keys, strict=True):
            present = (known or {}).get((p, k))
            if known is None and change.expected:
                present = {"v": change.expected}
            revision = max(now, present["v"] + 1 if present else 0)
            where = {"v": present["v"]} if present else dict(NEW)
            items.append(({"p": p, "k": k, "v": revision, "t": now, **value.attributes}, where))
        return items

    def _ours(
        self, values: Sequence[_Value], keys: Sequence[Key], known: dict[Key, Item], changes: Sequence[RecordChange]
    ) -> list[int] | None:
        """An answer was lost, and what was sent again was refused: by its own work, where its values stand there."""
        present = [known.get(key, {}) for key in keys]
        for item, value in zip(present, values, strict=True):
            if any(item.get(name) != given for name, given in value.attributes.items()):
                return None
        return [0 if change.value is None else item["v"] for change, item in zip(changes, present, strict=True)]

    async def _forget_blobs(self, blobs: Sequence[tuple[str, int] | None]) -> None:
        for blob in blobs:
            if blob is not None:
                await self._blobs.delete(*blob)


def _refuse_stale(changes: Sequence[RecordChange], keys: Sequence[Key], known: dict[Key, Item]) -> None:
    for change, key in zip(changes, keys, strict=True):
        present = known.get(key)
        revision = 0 if present is None or "x" in present else present["v"]
        if change.expected is not None and change.expected != revision:
            raise StaleRecord(change.name)


def _blob_of(item: Item) -> tuple[str, int] | None:
    return (item["bn"], item["bc"]) if "bn" in item else None


def _split(changes: Sequence[RecordChange]) -> tuple[list[RecordChange], list[RecordChange]]:
    """What is one transaction, and what may follow it."""
    too_many = len(changes) - ACTIONS_MAX
    rest = [change for change in changes if change.value is None and change.expected is None][-too_many:]
    if too_many <= 0:
        return list(changes), []
    if len(rest) < too_many:
        raise TooLarge(
            "the list of records to change",
            len(changes),
            "actions of one DynamoDB transaction",
            ACTIONS_MAX,
            "Change fewer at a time; for a consumer, give it fewer partitions.",
        )
    later = {change.name for change in rest}
    return [change for change in changes if change.name not in later], rest
