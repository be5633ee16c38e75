"""Backends with the faults of the field, one each, which the suite must notice. A pytest plugin for test_suite.py."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import msgspec

from headwater.backend import Appended, Page, Record, RecordChange, Write
from headwater.backends.memory import MemoryBackend
from headwater.connect import BACKENDS
from headwater.limits import Limits
from headwater.queries import ANY, Query
from headwater.testing import consuming


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


class SleepsThroughAppends(MemoryBackend):
    """Wakes no reader, as a listener does whose connection has died unnoticed."""

    async def wait(self, after: int, seconds: float) -> bool:
        await asyncio.sleep(3_600)
        return False


class SkipsAfterAPage(MemoryBackend):
    """Goes on one event too far after each page."""

    async def read_all(self, query: Query | None, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        page = await super().read_all(query, after, before, limit, backwards)
        return msgspec.structs.replace(page, last=page.last + 1) if page.more and not backwards else page


class RepeatsAfterAPage(MemoryBackend):
    """Begins each page with the last event of the one before."""

    async def read_all(self, query: Query | None, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        page = await super().read_all(query, after, before, limit, backwards)
        return msgspec.structs.replace(page, last=page.last - 1) if page.more and limit > 1 and not backwards else page


class NothingGrowsOld(MemoryBackend):
    """Tells every record as just saved: no lease ever runs out."""

    async def load_records(self, prefix: str, after: str = "", limit: int = 10_000) -> list[Record]:
        records = await super().load_records(prefix, after, limit)
        return [msgspec.structs.replace(record, age_us=0) for record in records]


class EverythingIsOld(MemoryBackend):
    """Tells every record as saved a minute ago: every lease has run out, so members rob one another."""

    async def load_records(self, prefix: str, after: str = "", limit: int = 10_000) -> list[Record]:
        records = await super().load_records(prefix, after, limit)
        return [msgspec.structs.replace(record, age_us=record.age_us + 60_000_000) for record in records]


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
    "sleeps": SleepsThroughAppends,
    "skips": SkipsAfterAPage,
    "repeats": RepeatsAfterAPage,
    "ageless": NothingGrowsOld,
    "aged": EverythingIsOld,
}


async def open(url: str, limits: Limits) -> MemoryBackend:
    consuming.PATIENCE_SECONDS = 1.0  # what these backends do not do now, they never do
    return FAULTS[url.rstrip(":")]()


for scheme in FAULTS:
    BACKENDS[scheme] = f"{__name__}:open"
