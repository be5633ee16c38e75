"""Events in this process's memory: the same semantics as every backend, for tests. Nothing survives the process."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NoReturn

import msgspec

from headwater.appending import Place, check_deletion, check_expected, first_result
from headwater.backend import (
    Appended,
    Capabilities,
    Examined,
    Page,
    Record,
    RecordChange,
    Snapshot,
    StreamInfo,
    StreamPolicy,
    StreamState,
    Write,
)
from headwater.errors import AppendConditionFailed, NotSupported, StaleRecord
from headwater.events import Event, category_of, now_us
from headwater.limits import Limits
from headwater.queries import ANY, ExpectedVersion, Query
from headwater.waiting import Signal

__all__ = ["MemoryBackend", "open"]

CAPABILITIES = Capabilities(
    backend="memory",
    durable=False,
    shared=False,
    order="total",
    gapless_positions=True,
    append_condition=True,
    atomic_streams=True,
    read_backwards=True,
    caller_transaction=False,
    stream_policies=True,
    snapshots=True,
    checkpoints=True,
    records=True,
)


async def open(url: str, limits: Limits) -> MemoryBackend:
    """A new, empty store. Two of them share nothing."""
    return MemoryBackend()


class _Stream:
    """The events of one stream, and what hides them. A tombstoned name may have no events."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.events: list[Event] = []
        self.hidden_through = 0  # versions up to here were deleted
        self.state: StreamState = "open"
        self.created_us = now_us()
        self.policy = StreamPolicy()

    @property
    def version(self) -> int:
        return len(self.events)

    def first_version(self) -> int:
        """The first version that a reader may see."""
        first = max(self.hidden_through + 1, self.policy.truncate_before, 1)
        if self.policy.max_count is not None:
            first = max(first, self.version - self.policy.max_count + 1)
        if self.policy.max_age is not None:
            oldest_us = now_us() - self.policy.max_age // timedelta(microseconds=1)
            while first <= self.version and self.events[first - 1].recorded_us < oldest_us:
                first += 1
        return min(first, self.version + 1)


class MemoryBackend:
    """See ``headwater.backend.Backend``. One lock around everything: simple enough to be the model for the others."""

    capabilities = CAPABILITIES
    stepped = True

    def __init__(self) -> None:
        self.identity = str(uuid.uuid4())
        self._lock = threading.Lock()
        self._log: list[Event] = []
        self._streams: dict[str, _Stream] = {}
        self._by_id: dict[bytes, Event] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._checkpoints: dict[str, int] = {}
        self._records: dict[str, tuple[bytes, int]] = {}  # value, revision = when it was saved
        self._last_us = 0
        self._signal = Signal()

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        with self._lock:
            ids = [record.id for write in writes for record in write.records]
            stored = {id: _place(self._by_id[id]) for id in ids if id in self._by_id}
            if stored:
                return first_result(writes, stored)
            for write in writes:
                self._check(write)
            results = [self._store(write) for write in writes]
        self._signal.notify()
        return results

    def _check(self, write: Write) -> None:
        if write.stream is not None:
            stream = self._streams.get(write.stream) or _Stream(write.stream)
            check_expected(stream.name, write.expected, stream.version, stream.state)
        if write.condition is not None:
            for event in self._log[write.condition.after :]:
                if write.condition.fail_if_match.matches(event):
                    raise AppendConditionFailed(write.condition, event.position)

    def _store(self, write: Write) -> Appended:
        stream = None if write.stream is None else self._streams.setdefault(write.stream, _Stream(write.stream))
        recorded_us = now_us()
        for record in write.records:
            event = Event(
                position=len(self._log) + 1,
                stream=write.stream,
                version=stream.version + 1 if stream else 0,
                raw_id=record.id,
                type=record.type,
                raw_data=record.data,
                raw_metadata=record.metadata,
                tags=record.tags,
                content_type=record.content_type,
                recorded_us=recorded_us,
                occurred_us=record.occurred_us,
            )
            self._log.append(event)
            self._by_id[record.id] = event
            if stream:
                stream.events.append(event)
        if stream:
            stream.state = "open"
        return Appended(stream.version if stream else 0, len(self._log))

    def bind(self, connection: Any) -> NoReturn:
        raise NotSupported("the memory backend", "appends in a caller's transaction", "Use append or append_all.")

    async def read_stream(self, stream: str, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        with self._lock:
            found = self._streams.get(stream) or _Stream(stream)
            first = max(after + 1, found.first_version())
            last = found.version if before is None else min(found.version, before - 1)
            events = found.events[first - 1 : last] if first <= last else []
            if backwards:
                kept = events[::-1][:limit]
                return Page(kept, kept[-1].version if kept else first, len(events) > limit)
            kept = events[:limit]
            return Page(kept, kept[-1].version if kept else last, len(events) > limit)

    async def read_all(self, query: Query | None, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        with self._lock:
            last = len(self._log) if before is None else min(len(self._log), before - 1)
            places = range(last, after, -1) if backwards else range(after + 1, last + 1)
            events = (self._log[place - 1] for place in places)
            matching = (event for event in events if query is None or query.matches(event))
            kept = list(itertools.islice(matching, limit))
            if len(kept) == limit and limit:
                return Page(kept, kept[-1].position, True)
            return Page(kept, after if backwards else max(after, last), False)

    async def head(self) -> int:
        return len(self._log)

    async def wait(self, after: int, seconds: float) -> bool:
        news = self._signal.subscribe()
        if len(self._log) > after:
            self._signal.cancel(news)
            return True
        return await self._signal.wait(news, seconds)

    async def event(self, id: bytes) -> Event | None:
        return self._by_id.get(id)

    async def stream(self, name: str) -> StreamInfo | None:
        with self._lock:
            stream = self._streams.get(name)
            return _info(stream) if stream else None

    async def streams(self, category: str | None, prefix: str | None, after: str, limit: int) -> list[StreamInfo]:
        with self._lock:
            names = sorted(
                name
                for name in self._streams
                if name > after
                and (category is None or category_of(name) == category)
                and (prefix is None or name.startswith(prefix))
            )
            return [_info(self._streams[name]) for name in names[:limit]]

    async def categories(self) -> list[tuple[str, int]]:
        with self._lock:
            names = sorted(category_of(name) for name in self._streams)
        return [(name, len(list(group))) for name, group in itertools.groupby(names)]

    async def set_policy(self, stream: str, policy: StreamPolicy) -> None:
        with self._lock:
            found = self._streams.get(stream) or _Stream(stream)
            check_deletion(stream, ANY, found.version, found.state, tombstone=False)
            found.policy = policy

    async def delete_stream(self, stream: str, expected: ExpectedVersion, tombstone: bool) -> None:
        with self._lock:
            found = self._streams.get(stream) or _Stream(stream)
            check_deletion(stream, expected, found.version, found.state, tombstone=tombstone)
            self._streams[stream] = found
            found.hidden_through = found.version
            found.state = "tombstoned" if tombstone else "deleted"

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        self._snapshots[snapshot.name] = msgspec.structs.replace(snapshot, saved_us=now_us())

    async def load_snapshot(self, name: str) -> Snapshot | None:
        return self._snapshots.get(name)

    async def load_snapshots(self, after: str, limit: int) -> list[Snapshot]:
        names = sorted(name for name in self._snapshots if name > after)[:limit]
        return [self._snapshots[name] for name in names]

    async def delete_snapshot(self, name: str) -> None:
        self._snapshots.pop(name, None)

    async def save_checkpoint(self, name: str, position: int) -> None:
        self._checkpoints[name] = position

    async def load_checkpoint(self, name: str) -> int | None:
        return self._checkpoints.get(name)

    async def load_records(self, prefix: str, after: str = "", limit: int = 10_000) -> list[Record]:
        with self._lock:
            names = sorted(name for name in self._records if name.startswith(prefix) and name > after)[:limit]
            now = now_us()
            found = [(name, *self._records[name]) for name in names]
        return [Record(name, value, revision, max(0, now - revision)) for name, value, revision in found]

    async def save_records(self, changes: Sequence[RecordChange]) -> list[int]:
        with self._lock:
            for change in changes:
                present = self._records.get(change.name)
                if change.expected is not None and change.expected != (present[1] if present else 0):
                    raise StaleRecord(change.name)
            return [self._change(change) for change in changes]

    def _change(self, change: RecordChange) -> int:
        if change.value is None:
            self._records.pop(change.name, None)
            return 0
        self._last_us = max(now_us(), self._last_us + 1)
        self._records[change.name] = (change.value, self._last_us)
        return self._last_us

    async def scrub(self) -> str:
        return ""

    async def examine(self) -> list[Examined]:
        return [Examined("durability", "note", "events end with this process", "Use a file: sqlite:///loans.db.")]

    async def close(self) -> None:
        self._signal.notify()


def _place(event: Event) -> Place:
    return Place(event.position, event.stream, event.version)


def _info(stream: _Stream) -> StreamInfo:
    return StreamInfo(
        name=stream.name,
        category=category_of(stream.name),
        version=stream.version,
        first_version=stream.first_version(),
        created_us=stream.events[0].recorded_us if stream.events else stream.created_us,
        last_us=stream.events[-1].recorded_us if stream.events else stream.created_us,
        state=stream.state,
        policy=stream.policy,
    )
