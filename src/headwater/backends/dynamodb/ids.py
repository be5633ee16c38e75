"""Where events are, by their ids; and claims on ids, for appends of more events than one transaction takes.

An id's item is written by the transaction that commits its event. Where there are too many for that, they are *claimed*
before: each id's item names the append, and is worth nothing until the transaction has written that append's status.
Whoever meets a claim whose append has no status waits a little and then gives it up in the other's name, by writing the
status himself; so the two can't both succeed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import msgspec

from headwater.appending import Place
from headwater.backends.dynamodb.faults import Refused
from headwater.backends.dynamodb.keys import commit_key, id_key, place_key, status_key, stream_of
from headwater.backends.dynamodb.requests import ACTIONS_MAX, NEW, Item
from headwater.backends.dynamodb.sequencer import Sequencer
from headwater.backends.dynamodb.service import Service, in_turns, pause
from headwater.errors import CorruptStore

__all__ = ["Commit", "Found", "Ids"]

PATIENCE_SECONDS = 5.0
"""An append has so long from its claims to its transaction, before others that want the ids give it up."""

Commit = tuple[str, int]
"""Partition and first version."""

_decode = msgspec.msgpack.Decoder(list[tuple[str, int, int]]).decode


class Found(msgspec.Struct, frozen=True):
    """Where an event is."""

    partition: str
    first: int
    """The version of its commit's first event."""
    ordinal: int
    """Its number in the commit, from 0."""
    position: int | None
    """None where it must be looked for."""


class Ids:
    """Looks ids up, and claims them."""

    def __init__(self, service: Service, sequencer: Sequencer) -> None:
        self._service = service
        self._sequencer = sequencer

    async def places(self, ids: Sequence[bytes], *, own: str = "") -> dict[bytes, Place]:
        """The places of those that are stored, with their positions. Removes claims that came to nothing.

        ``own``: the append of the caller's, whose claims are left as they are.
        """
        found = await self.find(ids, own=own)
        positions = await self.positions({(each.partition, each.first) for each in found.values() if not each.position})
        return {
            id: Place(
                each.position or positions[each.partition, each.first] + each.ordinal,
                stream := stream_of(each.partition),
                0 if stream is None else each.first + each.ordinal,
            )
            for id, each in found.items()
        }

    async def find(self, ids: Sequence[bytes], *, own: str = "") -> dict[bytes, Found]:
        """Where those that are stored are."""
        items = await self._service.get_many([id_key(id) for id in ids])
        present = {id: items[id_key(id)] for id in ids if id_key(id) in items}
        appends = {item["a"] for item in present.values() if "a" in item}
        committed = {append: await self._commits(append, append == own) for append in appends}
        stale = [item for item in present.values() if item.get("a", own) != own and committed[item["a"]] is None]
        await in_turns([self._release(item) for item in stale])
        return {id: found for id, item in present.items() if (found := _found(item, committed)) is not None}

    async def positions(self, commits: Iterable[Commit]) -> dict[Commit, int]:
        """The positions of the first events of commits, by partition and first version. Helps where there are none."""
        wanted = set(commits)
        known: dict[Commit, int] = {}
        for attempt in range(5):
            keys = {place(*each): each for each in wanted for place in (place_key, commit_key)}
            for key, item in (await self._service.get_many(list(keys)) if keys else {}).items():
                if "g" in item:
                    known[keys[key]] = item["g"]
            wanted -= set(known)
            if not wanted:
                return known
            await self._sequencer.settle()
            await pause(attempt)
        raise CorruptStore(
            self._service.target.shown,
            f"{len(wanted)} commits have no positions, and are not in the outbox",
            "Was the table restored? Restore it to another moment.",
        )

    async def claim(self, append: str, ids: Sequence[bytes]) -> bool:
        """Claim the ids for a staged append. False where one is stored or claimed already."""
        chunks = [ids[start : start + ACTIONS_MAX] for start in range(0, len(ids), ACTIONS_MAX)]
        ordinals = range(0, len(ids), ACTIONS_MAX)
        return all(
            await in_turns([self._claim(append, start, chunk) for start, chunk in zip(ordinals, chunks, strict=True)])
        )

    async def _claim(self, append: str, start: int, ids: Sequence[bytes]) -> bool:
        now = self._service.clock.now_us()
        requests = self._service.requests
        keys = [id_key(id) for id in ids]
        items = [{"p": p, "k": k, "a": append, "j": start + number, "t": now} for number, (p, k) in enumerate(keys)]
        try:
            await self._service.transact([{"Put": requests.put(item, NEW)} for item in items])
        except Refused:
            return False
        return True

    async def release(self, append: str, ids: Sequence[bytes]) -> None:
        """Take claims back."""
        await in_turns([self._release({"p": id_key(id)[0], "k": id_key(id)[1], "a": append}) for id in ids])

    async def _release(self, item: Item) -> None:
        with suppress(Refused):  # somebody else has, or has the id by now
            await self._service.delete((item["p"], item["k"]), {"a": item["a"]})

    async def give_up(self, append: str) -> bool:
        """Settle that a staged append will not be committed. False where it was."""
        p, k = status_key(append)
        try:
            await self._service.put({"p": p, "k": k, "x": True}, NEW)
        except Refused as refused:
            item = refused.reasons[0].item
            return item is None or "x" in item
        return True

    async def _commits(self, append: str, own: bool) -> list[tuple[str, int, int]] | None:
        """Partition, first version and number of events of each staged write; None where it came to nothing."""
        until = time.monotonic() + PATIENCE_SECONDS
        attempt = 0
        while True:
            status = await self._service.get(status_key(append))
            if status is not None:
                return None if "x" in status else _decode(status["w"])
            if own:
                return None
            if time.monotonic() > until:
                await self.give_up(append)
                continue
            attempt += 1
            await pause(attempt)


def _found(item: Item, committed: Mapping[str, list[tuple[str, int, int]] | None]) -> Found | None:
    if "a" not in item:
        return Found(item["q"], item["f"], item["i"], item.get("g"))
    commits = committed[item["a"]]
    if commits is None:
        return None
    ordinal = item["j"]
    for partition, first, count in commits:
        if ordinal < count:
            return Found(partition, first, ordinal, None)
        ordinal -= count
    return None
