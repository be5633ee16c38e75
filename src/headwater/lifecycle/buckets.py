"""Records of a fixed size, dealt out by key into buckets that spill to disk: how every event of a store can be
compared with every other in bounded memory."""

from __future__ import annotations

import hashlib
import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Self

__all__ = ["Buckets", "key_of"]

BUCKETS_MAX = 256
"""Files open at a time stay below what systems allow a process."""

_RECORDS_PER_BUCKET = 200_000
_MEMORY_BYTES = 131_072
_RECORD = struct.Struct("<16sqq")


def key_of(text: str) -> bytes:
    """16 bytes that stand for a text; that two texts share them is out of the question (2⁻⁶⁴ at 2³² texts)."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Buckets:
    """Records of a 16-byte key and two numbers. All of one key come back together, in the order they were put."""

    def __init__(self, expected: int) -> None:
        """``expected``: about how many records there will be."""
        self._count = max(1, min(BUCKETS_MAX, expected // _RECORDS_PER_BUCKET))
        self._files: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            for _ in range(self._count):
                file = tempfile.SpooledTemporaryFile(_MEMORY_BYTES, prefix="headwater-")  # closed in __exit__
                self._files.append(opened.enter_context(file))
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def put(self, key: bytes, first: int, second: int) -> None:
        """Keep a record."""
        bucket = (key[0] << 8 | key[-1]) % self._count
        self._files[bucket].write(_RECORD.pack(key, first, second))

    def each(self) -> Iterator[Iterator[tuple[bytes, int, int]]]:
        """The records of one bucket after the other."""
        for file in self._files:
            file.seek(0)
            yield _records(file)
            file.truncate(0)


def _records(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    while block := file.read(_RECORD.size * 4096):
        yield from _RECORD.iter_unpack(block)
