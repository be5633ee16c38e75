"""Bytes that are too large for the item they belong to: cut into items of their own. And packing, to save units."""

from __future__ import annotations

import uuid
import zlib

from headwater.backends.dynamodb.keys import Key
from headwater.backends.dynamodb.requests import Item
from headwater.backends.dynamodb.service import Service
from headwater.errors import CorruptStore

__all__ = ["CHUNK", "Blobs", "chunk_items", "chunk_keys", "packed", "unpacked"]

CHUNK = 380_000
"""Bytes in one item, which may hold 400 KB with its names."""
WORTH_PACKING = 512
"""Fewer bytes are not tried to be made less: a unit is 1,024 anyway."""


def packed(raw: bytes) -> bytes:
    """The bytes, compressed where that makes them fewer; the first byte says which."""
    if len(raw) > WORTH_PACKING:
        small = zlib.compress(raw, 6)
        if len(small) < len(raw):
            return b"z" + small
    return b"=" + raw


def unpacked(stored: bytes) -> bytes:
    """What was ``packed``."""
    return zlib.decompress(memoryview(stored)[1:]) if stored[:1] == b"z" else stored[1:]


def chunk_keys(partition: str, start: str, count: int) -> list[Key]:
    """The keys of so many items that hold bytes together."""
    return [(partition, f"{start}{number:06d}") for number in range(count)]


def chunk_items(partition: str, start: str, value: bytes) -> list[Item]:
    """The bytes as items; at least one."""
    chunks = [value[begin : begin + CHUNK] for begin in range(0, len(value), CHUNK)] or [b""]
    keys = chunk_keys(partition, start, len(chunks))
    return [{"p": p, "k": k, "b": chunk} for (p, k), chunk in zip(keys, chunks, strict=True)]


class Blobs:
    """Writes and reads bytes under names of their own. What points to a blob is written after it."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def save(self, value: bytes) -> tuple[str, int]:
        """Its name, and its number of chunks."""
        name = uuid.uuid4().hex
        items = chunk_items(f"B#{name}", "", value)
        await self._service.put_all(items)
        return name, len(items)

    async def load(self, name: str, count: int) -> bytes | None:
        """The bytes; None where they are gone, because what pointed to them was replaced meanwhile."""
        keys = chunk_keys(f"B#{name}", "", count)
        found = await self._service.get_many(keys)
        return b"".join([found[key]["b"] for key in keys]) if len(found) == count else None

    async def delete(self, name: str, count: int) -> None:
        """Forget the bytes."""
        await self._service.delete_all(chunk_keys(f"B#{name}", "", count))

    def damaged(self, what: str) -> CorruptStore:
        """What to raise where something points to bytes that are not there."""
        return CorruptStore(
            self._service.target.shown, f"the bytes of {what} are missing", "Restore the table to a later moment."
        )
