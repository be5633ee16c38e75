"""One order for all: gives positions to what was committed, any process for all the others.

An append takes its positions in its own transaction (``directly``), by moving the store's last position from the one
that it knows: one request where nobody else is appending. Where somebody is, it leaves a marker in the outbox
(``by_outbox``), in the transaction that commits it, and a *round* gives positions to many markers at once. Whoever
comes first makes the round; a process that died behind its commit is so helped by the next.

A round reads the outbox twice. A query is no snapshot: it may show a stream's second commit without the first, which
came while it ran. What the first reading showed was committed before the second began, so all that went before it is in
the second (or has its position). The transaction then moves the last position by compare-and-swap and deletes the
markers: of two rounds with the same markers, one is refused.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any

import msgspec

from headwater.backends.dynamodb.bodies import Batch
from headwater.backends.dynamodb.drafts import Draft, Label, marked, positioned
from headwater.backends.dynamodb.faults import Overlapped, Refused
from headwater.backends.dynamodb.heads import Head, Heads
from headwater.backends.dynamodb.keys import END, GLOBAL, outbox, page_key, place_key, stream_of
from headwater.backends.dynamodb.requests import ACTIONS_MAX, NEW
from headwater.backends.dynamodb.rows import ROWS_MAX, Row, decoded_rows, encoded_rows
from headwater.backends.dynamodb.service import Service, pause
from headwater.errors import CorruptStore, StoreUnavailable

__all__ = ["Clash", "Marker", "Sequencer", "in_order"]

LOOK_SECONDS = 1.0
"""A reader at the end of the log looks at the outbox so often, for what others left there."""
CONTENDED_SECONDS = 1.0
"""So long nobody of this process tries to take positions directly, once another process was faster."""
DIRECT_TURNS = 2
CHECKED_SECONDS = 30.0
"""So long an append with a condition tries to be the next."""


class Clash(Exception):
    """The transaction of an append was not done, because of these actions."""

    def __init__(self, draft: Draft, refused: Refused) -> None:
        self.failed = [(draft.labels[number], refused.reasons[number].item) for number in refused.failed]
        self.kinds = {label.kind for label, _ in self.failed}
        # Where the head or the last position has moved on, what would have come next is there as well.
        self.kinds -= {"commit"} if "head" in self.kinds else set()
        self.kinds -= {"page"} if "global" in self.kinds else set()
        super().__init__(", ".join(sorted(self.kinds)))


class Marker(msgspec.Struct, frozen=True):
    """An append in the outbox."""

    shard: int
    name: str
    committed_us: int
    rows: list[Row]
    size: int
    """Bytes of its rows."""


class Sequencer:
    """Positions, for this process's appends and for what others left."""

    def __init__(self, service: Service, heads: Heads, shards: int, moved: Callable[[], None]) -> None:
        self._service = service
        self._heads = heads
        self._shards = shards
        self._moved = moved  # told whenever the last position is known to be higher
        self._gate = asyncio.Lock()  # one of this process at a time: they would only overlap
        self._contended_until = 0.0
        self._looked_at = 0.0
        self._left = False
        self._waiting: set[str] = set()
        self._placed: dict[str, int] = {}
        self.position = 0
        """The last position that is known to be given."""

    @property
    def quiet(self) -> bool:
        """Whether it is worth while to try directly."""
        return not self._gate.locked() and time.monotonic() >= self._contended_until

    def note(self, position: int) -> None:
        """Positions up to here are given."""
        if position > self.position:
            self.position = position
            self._moved()

    async def read(self) -> int:
        """The last position that was given, as it is now."""
        item = await self._service.get(GLOBAL)
        if item is None:
            raise CorruptStore(self._service.target.shown, "its last position is missing", "Restore the table.")
        self.note(item["v"])
        position: int = item["v"]
        return position

    async def head(self) -> int:
        """``read``, after a look at the outbox where that is due."""
        if self._left or time.monotonic() - self._looked_at > LOOK_SECONDS:
            await self.settle()
        return await self.read()

    async def settle(self) -> None:
        """Give positions to all that is in the outbox by now."""
        async with self._gate:
            await self._drain()

    def left_something(self) -> None:
        """This process has put something into the outbox, and does not wait for its position."""
        self._left = True

    async def directly(
        self,
        heads: Mapping[str, Head],
        draft: Callable[[int], Draft],
        check: Callable[[int], Awaitable[None]] | None,
    ) -> tuple[Draft, int]:
        """Commit with the next positions; the draft, and the position before its first.

        ``check`` looks at the log up to a position, and raises where the append may not follow. ``Overlapped`` where
        others were faster; ``Clash`` where something else is not as the draft wants it.
        """
        async with self._gate:
            if check is not None or any(head.sequenced < head.version for head in heads.values()):
                # A stream's earlier commits must have their positions, and what was acknowledged must be seen. All
                # that the heads tell of was in the outbox before they were read.
                await self._drain()
            position = self.position if check is None else await self.read()
            give_up = time.monotonic() + CHECKED_SECONDS
            turn = 0
            while True:
                if check is not None:
                    await check(position)
                made = draft(position)
                positioned(self._service.requests, made, position)
                try:
                    await self._transact(made, overlaps_max=0)
                except (Overlapped, Clash) as failed:
                    turn += 1
                    if isinstance(failed, Clash) and failed.kinds != {"global"}:
                        raise
                    if (turn >= DIRECT_TURNS) if check is None else (time.monotonic() > give_up):
                        self._contended_until = time.monotonic() + CONTENDED_SECONDS
                        raise Overlapped from failed
                    await pause(turn)
                    position = await self.read()
                else:
                    self.note(position + sum(row.count for row in made.rows))
                    return made, position

    async def by_outbox(self, batch: Batch, draft: Draft, recorded_us: int, *, wait: bool) -> int | None:
        """Commit with a marker; the position before its first event, or None where that is not waited for."""
        marked(self._service.requests, draft, batch, recorded_us, self._shards)
        self._left = True  # should we be cancelled, the next reader helps
        self._waiting.add(batch.name)
        try:
            await self._transact(draft)
            return await self._position_of(batch.name, draft.rows[0]) if wait else None
        finally:
            self._waiting.discard(batch.name)
            self._placed.pop(batch.name, None)

    async def _transact(self, draft: Draft, **options: Any) -> None:
        try:
            await self._service.transact(draft.actions, **options)
        except Refused as refused:
            clash = Clash(draft, refused)
            for label, item in clash.failed:
                if label == Label("global") and item is not None:
                    self.note(item["v"])
            raise clash from refused

    async def _position_of(self, name: str, row: Row) -> int:
        """Help until the marker has its position."""
        while True:
            async with self._gate:
                if name in self._placed:
                    return self._placed[name]
                seen, _ = await self._round()
                if name not in self._placed and name not in seen:
                    break
        item = await self._service.get(place_key(row.partition, row.first))  # another process was faster
        if item is None:
            raise CorruptStore(
                self._service.target.shown,
                f"commit {row.first} of {row.partition!r} is neither in the outbox nor in the log",
                "Was the table restored? Restore it to another moment.",
            )
        position: int = item["g"] - 1
        return position

    async def _drain(self) -> None:
        """Rounds, until nothing is left of what is in the outbox now."""
        self._left = False
        seen, done = await self._round()
        waiting = seen - done
        while waiting:
            seen, done = await self._round()
            waiting = (waiting & seen) - done
        self._looked_at = time.monotonic()

    async def _round(self) -> tuple[set[str], set[str]]:
        """Give positions to as many markers as one transaction takes: what was seen, and what has positions now."""
        first = {marker.name: marker for marker in await self._look()}
        if not first:
            return set(), set()
        second = {marker.name: marker for marker in await self._look()}
        batch = _fitting(in_order(first, second))
        if not batch:
            return set(second), set()
        position = self.position
        rows = [row for marker in batch for row in marker.rows]
        try:
            await self._service.transact(self._actions(batch, rows, position), overlaps_max=0)
        except Refused as refused:
            item = refused.reasons[0].item
            if 0 in refused.failed and item is not None:
                self.note(item["v"])
            else:
                await self.read()
        except Overlapped:
            await pause(3)
            await self.read()
        else:
            self._remember(batch, position)
            return set(first), {marker.name for marker in batch}
        return set(first), set()

    def _actions(self, batch: Sequence[Marker], rows: Sequence[Row], position: int) -> list[dict[str, Any]]:
        requests = self._service.requests
        count = sum(row.count for row in rows)
        p, k = page_key(position + 1)
        actions = [
            {"Update": requests.update(GLOBAL, {"v": position + count}, {"v": position})},
            {"Put": requests.put({"p": p, "k": k, "n": count, "r": encoded_rows(rows)}, NEW)},
        ]
        for marker in batch:
            key = (outbox(marker.shard), marker.name)
            actions.append({"Delete": requests.delete(key, {"k": marker.name})})
        for row in rows:
            p, k = place_key(row.partition, row.first)
            actions.append({"Put": requests.put({"p": p, "k": k, "g": position + 1})})
            position += row.count
        return actions

    def _remember(self, batch: Sequence[Marker], position: int) -> None:
        for marker in batch:
            if marker.name in self._waiting:
                self._placed[marker.name] = position
            for row in marker.rows:
                stream = stream_of(row.partition)
                if stream is not None:
                    self._heads.sequenced(stream, row.first + row.count - 1)
                position += row.count
        self.note(position)

    async def _look(self) -> list[Marker]:
        """What is in the outbox."""
        found = await asyncio.gather(*[self._look_at(shard) for shard in range(self._shards)])
        return [marker for markers in found for marker in markers]

    async def _look_at(self, shard: int) -> list[Marker]:
        return [
            Marker(shard, item["k"], item["t"], decoded_rows(item["r"]), len(item["r"]))
            async for item in self._service.query(outbox(shard), "0", END)
        ]

    def unavailable(self) -> StoreUnavailable:
        """What to raise where others are always faster."""
        return StoreUnavailable(
            f"{self._service.target.shown}: other appends were faster each time",
            "Append again; where that is so often, spread the appends over more streams, or give fewer conditions.",
        )


def in_order(first: Mapping[str, Marker], second: Mapping[str, Marker]) -> list[Marker]:
    """What may get positions now, each after all that was committed before it in one of its streams.

    ``first`` and ``second`` are two readings of the outbox, one after the other. Those of the first that are still in
    the second may; and those of the second that went before them.
    """
    by_stream: dict[str, list[tuple[int, str]]] = {}
    for name, marker in second.items():
        for row in marker.rows:
            by_stream.setdefault(row.partition, []).append((row.first, name))
    before: dict[str, list[str]] = {name: [] for name in second}
    for commits in by_stream.values():
        commits.sort()
        for (_, earlier), (_, later) in itertools.pairwise(commits):
            before[later].append(earlier)
    taken: set[str] = set()
    asked = [name for name in first if name in second]
    while asked:
        name = asked.pop()
        if name not in taken:
            taken.add(name)
            asked += before[name]
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name in sorted(taken, key=lambda name: (second[name].committed_us, name)):
        sorter.add(name, *before[name])
    return [second[name] for name in sorter.static_order()]


def _fitting(markers: Sequence[Marker]) -> list[Marker]:
    """The first of them, as many as fit into one transaction and one page."""
    taken: list[Marker] = []
    actions, size = 2, 0
    for marker in markers:
        actions += 1 + len(marker.rows)
        size += marker.size
        if taken and (actions > ACTIONS_MAX or size > ROWS_MAX):
            break
        taken.append(marker)
    return taken
