"""Streams as things: listing them, hiding their events, retiring their names."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Awaitable, Callable

import msgspec

from headwater.appending import check_deletion
from headwater.backend import StreamInfo, StreamPolicy
from headwater.backends.dynamodb.faults import Refused
from headwater.backends.dynamodb.heads import Head, Heads, info_of
from headwater.backends.dynamodb.keys import head_key, listed_key, named
from headwater.backends.dynamodb.requests import NEW
from headwater.backends.dynamodb.service import Service, in_turns, pause
from headwater.errors import StoreUnavailable
from headwater.events import category_of
from headwater.queries import ANY, ExpectedVersion

__all__ = ["Streams"]

ATTEMPTS_MAX = 100
LAST = "$"
"""Above ``#``, with which every name in a sort key begins."""

FirstVersion = Callable[[str, Head], Awaitable[int]]


class Streams:
    """Reads and writes heads, and the list of streams."""

    def __init__(self, service: Service, heads: Heads, first_version: FirstVersion, shards: int) -> None:
        self._service = service
        self._heads = heads
        self._first_version = first_version
        self._shards = shards

    async def stream(self, name: str) -> StreamInfo | None:
        """See ``Backend.stream``."""
        head = (await self._heads.read([name]))[name]
        return await self._info(name, head) if head.exists else None

    async def _info(self, name: str, head: Head) -> StreamInfo:
        return info_of(name, head, await self._first_version(name, head))

    async def streams(self, category: str | None, prefix: str | None, after: str, limit: int) -> list[StreamInfo]:
        """See ``Backend.streams``. A category's streams begin with it."""
        begins = max([text for text in (category, prefix) if text], default="", key=len)
        names: list[str] = []
        while len(names) < limit:
            found = await self._names(begins, after, limit)
            names += [
                name
                for name in found
                if (category is None or category_of(name) == category) and name.startswith(prefix or "")
            ]
            if len(found) < limit:
                break
            after = found[-1]
        names = names[:limit]
        heads = await self._heads.read(names)
        return await in_turns([self._info(name, heads[name]) for name in names])

    async def categories(self) -> list[tuple[str, int]]:
        """See ``Backend.categories``. Reads the whole list."""
        counts: dict[str, int] = {}
        for shard in range(self._shards):
            async for item in self._service.query(f"D#{shard}", named(""), LAST):
                name = category_of(item["k"][1:])
                counts[name] = counts.get(name, 0) + 1
        return sorted(counts.items(), key=lambda each: each[0].encode())

    async def _names(self, begins: str, after: str, limit: int) -> list[str]:
        """The first names after one that begin so, in the order of their UTF-8 bytes."""
        low = max(named(begins), named(after), key=str.encode)
        shards = await in_turns([self._listed(shard, low, begins, after, limit) for shard in range(self._shards)])
        return list(itertools.islice(heapq.merge(*shards, key=str.encode), limit))

    async def _listed(self, shard: int, low: str, begins: str, after: str, limit: int) -> list[str]:
        names: list[str] = []
        async for item in self._service.query(f"D#{shard}", low, LAST, limit=limit + 1):
            name = item["k"][1:]
            if len(names) == limit or not name.startswith(begins):
                break
            if name != after:
                names.append(name)
        return names

    async def set_policy(self, stream: str, policy: StreamPolicy) -> None:
        """See ``Backend.set_policy``."""

        def changed(head: Head) -> Head:
            check_deletion(stream, ANY, head.version, head.state, tombstone=False)
            return msgspec.structs.replace(head, policy=policy)

        await self._change(stream, changed)

    async def delete_stream(self, stream: str, expected: ExpectedVersion, tombstone: bool) -> None:
        """See ``Backend.delete_stream``."""

        def changed(head: Head) -> Head:
            check_deletion(stream, expected, head.version, head.state, tombstone=tombstone)
            now = self._service.clock.now_us()
            made = head if head.exists else Head(created_us=now, last_us=now)
            return msgspec.structs.replace(made, state="tombstoned" if tombstone else "deleted", hidden=head.version)

        await self._change(stream, changed)

    async def _change(self, stream: str, change: Callable[[Head], Head]) -> None:
        """Change a head by compare-and-swap, until nobody comes in between."""
        requests = self._service.requests
        for attempt in range(ATTEMPTS_MAX):
            head = (await self._heads.read([stream]))[stream]
            after = msgspec.structs.replace(change(head), exists=True)
            try:
                if head.exists:
                    await self._service.update(head_key(stream), after.attributes(), head.where)
                else:
                    p, k = listed_key(stream, self._shards)
                    actions = [{"Put": requests.put(after.item(stream), NEW)}, {"Put": requests.put({"p": p, "k": k})}]
                    await self._service.transact(actions)
            except Refused:
                await pause(attempt)
                continue
            self._heads.note(stream, after)
            return
        raise StoreUnavailable(f"{self._service.target.shown}: stream {stream!r} is too busy to change", "Try again.")
