"""What is kept beside the log by name: snapshots and checkpoints."""

from __future__ import annotations

from headwater.backend import Snapshot
from headwater.backends.dynamodb.blobs import Blobs, packed, unpacked
from headwater.backends.dynamodb.keys import named
from headwater.backends.dynamodb.requests import Item
from headwater.backends.dynamodb.service import Service

__all__ = ["Keeping"]

INLINE_MAX = 300_000
"""Bytes of a state in the snapshot's own item."""
LAST = "$"


class Keeping:
    """One item per name. A snapshot's name stands in a list as well, which is written before it and deleted after."""

    def __init__(self, service: Service, blobs: Blobs) -> None:
        self._service = service
        self._blobs = blobs

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """See ``Backend.save_snapshot``."""
        state = packed(snapshot.raw_state)
        before = await self._item(snapshot.name)
        item = {
            "p": f"N#{snapshot.name}",
            "k": "H",
            "v": snapshot.version,
            "ct": snapshot.content_type,
            "sc": snapshot.schema,
            "t": self._service.clock.now_us(),
        }
        if len(state) <= INLINE_MAX:
            item["b"] = state
        else:
            item["bn"], item["bc"] = await self._blobs.save(state)
        if before is None:
            await self._service.put({"p": "N", "k": named(snapshot.name)})
        await self._service.put(item)
        await self._forget_blob(before)

    async def load_snapshot(self, name: str) -> Snapshot | None:
        """See ``Backend.load_snapshot``."""
        while True:
            item = await self._item(name)
            if item is None:
                return None
            state = item["b"] if "b" in item else await self._blobs.load(item["bn"], item["bc"])
            if state is not None:
                return Snapshot(name, item["v"], unpacked(state), item["ct"], item["sc"], item["t"])
            again = await self._item(name)  # replaced while it was read, or damaged
            if again is not None and again.get("bn") == item["bn"]:
                raise self._blobs.damaged(f"the snapshot {name!r}")

    async def load_snapshots(self, after: str, limit: int) -> list[Snapshot]:
        """See ``Backend.load_snapshots``."""
        found: list[Snapshot] = []
        async for item in self._service.query("N", named(after), LAST, limit=limit + 1):
            name = item["k"][1:]
            snapshot = await self.load_snapshot(name) if name != after else None
            if snapshot is not None:
                found.append(snapshot)
            if len(found) == limit:
                break
        return found

    async def delete_snapshot(self, name: str) -> None:
        """See ``Backend.delete_snapshot``."""
        before = await self._item(name)
        await self._service.delete((f"N#{name}", "H"))
        await self._service.delete(("N", named(name)))
        await self._forget_blob(before)

    async def _item(self, name: str) -> Item | None:
        return await self._service.get((f"N#{name}", "H"))

    async def _forget_blob(self, item: Item | None) -> None:
        if item is not None and "bn" in item:
            await self._blobs.delete(item["bn"], item["bc"])

    async def save_checkpoint(self, name: str, position: int) -> None:
        """See ``Backend.save_checkpoint``."""
        await self._service.put({"p": "C", "k": named(name), "v": position})

    async def load_checkpoint(self, name: str) -> int | None:
        """See ``Backend.load_checkpoint``."""
        item = await self._service.get(("C", named(name)))
        return None if item is None else item["v"]
