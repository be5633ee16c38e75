"""Backends with the faults of the field, one each, which the suite must notice. A pytest plugin for test_suite.py."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import msgspec

from headwater.backend import Appended, Page, RecordChange, Write
from headwater.backends.memory import MemoryBackend
from headwater.connect import BACKENDS
from headwater.limits import Limits
from headwater.queries import ANY, Query


class LosesEvents(MemoryBackend):
    """Draws positions first and commits later, in any order, as a SQL sequence does without a gate."""

    def __init__(self) -> None:
        super().__init__()
        self._under_way: set[int] = set()

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        results = await super().append(writes)
        positions = {result.position for result in results if not result.duplicate}
        self._under_way |= positions
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)
        self._under_way -= positions
        return results

    async def read_all(self, query: Query | None, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        page = await super().read_all(query, after, before, limit, backwards)
        return msgspec.structs.replace(
            page, events=[event for event in page.events if event.position not in self._under_way]
        )


class ChecksTooEarly(MemoryBackend):
    """Checks the expected version, and writes in a second step."""

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        for write in writes:
            self._check(write)
        await asyncio.sleep(0)
        return await super().append([Write(write.stream, write.records, ANY, None) for write in writes])


class ForgetsItsEvents(MemoryBackend):
    """Knows an id only as long as it is among the last: a retry in a year is stored again."""

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        for id in list(self._by_id)[:-2]:
            del self._by_id[id]
        return await super().append(writes)


class AppendsByHalf(MemoryBackend):
    """Appends stream by stream."""

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        return [each for write in writes for each in await super(AppendsByHalf, self).append([write])]


class IgnoresNothingWrongly(MemoryBackend):
    """Takes ``after=0`` for: ignore the condition."""

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        return await super().append(
            [write if write.condition and write.condition.after else _unconditional(write) for write in writes]
        )


class BendsNumbers(MemoryBackend):
    """Keeps numbers as 64-bit floats, as some JSON stores do."""

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        return await super().append(
            [
                msgspec.structs.replace(
                    write,
                    records=tuple(
                        msgspec.structs.replace(record, data=_bent(record.data))
                        if record.content_type == "application/json"
                        else record
                        for record in write.records
                    ),
                )
                for write in writes
            ]
        )


class ReadsEverythingAtOnce(MemoryBackend):
    """Holds the whole answer, whatever the limit: here, a copy of it."""

    _held: list[bytes] | None = None

    async def read_stream(self, stream: str, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        self._held = self._held or [bytes(bytearray(event.raw_data)) for event in self._log]
        return await super().read_stream(stream, after, before, limit, backwards)


class SwapsWithoutComparing(MemoryBackend):
    """Writes a record whatever is expected of it: two members hold one lease."""

    async def save_records(self, changes: Sequence[RecordChange]) -> list[int]:
        return await super().save_records([msgspec.structs.replace(change, expected=None) for change in changes])


class SwapsByHalf(MemoryBackend):
    """Changes record by record, and stops where one is stale."""

    async def save_records(self, changes: Sequence[RecordChange]) -> list[int]:
        return [each for change in changes for each in await super(SwapsByHalf, self).save_records([change])]


def _unconditional(write: Write) -> Write:
    return Write(write.stream, write.records, write.expected, None)


def _bent(data: bytes) -> bytes:
    value = msgspec.json.decode(data)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return msgspec.json.encode(float(value))
    return data


FAULTS = {
    "loses": LosesEvents,
    "checks-early": ChecksTooEarly,
    "forgets": ForgetsItsEvents,
    "halves": AppendsByHalf,
    "ignores": IgnoresNothingWrongly,
    "bends": BendsNumbers,
    "holds": ReadsEverythingAtOnce,
    "swaps": SwapsWithoutComparing,
    "swaps-half": SwapsByHalf,
}


async def open(url: str, limits: Limits) -> MemoryBackend:
    return FAULTS[url.rstrip(":")]()


for scheme in FAULTS:
    BACKENDS[scheme] = f"{__name__}:open"
