"""Verification: does what is stored keep the promises? Reads the log once, in bounded memory, and changes nothing.

Checked of every event: positions rise strictly; versions run 1, 2, 3 … in each stream; no id and no version stands
twice; what the store says of each stream (its version) is what the log says; data and metadata can be decoded, names
and tags are as they must be. Of a sample: that the event is found by its id, its stream, its type and its tags.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator

import msgspec

from headwater.codecs import checked_name
from headwater.errors import CorruptStore, InvalidEvent
from headwater.events import Event, is_json
from headwater.lifecycle.buckets import Buckets, key_of
from headwater.queries import Query, QueryItem
from headwater.store import EventStore

__all__ = ["FINDINGS_MAX", "Finding", "Verified", "verify"]

FINDINGS_MAX = 1_000
"""Findings that are listed; more are only counted."""

_LOOKED_UP_EVERY = 100
"""Of so many events one is also looked up by id, stream, type and tags, to try the indexes."""


class Finding(msgspec.Struct, frozen=True):
    """One broken promise."""

    kind: str
    """``position``, ``version``, ``id``, ``head``, ``data``, ``index`` or ``unreadable``."""
    position: int | None
    """Of the event, where it is one event's."""
    stream: str | None
    problem: str


class Verified(msgspec.Struct):
    """What a verification saw."""

    events: int = 0
    streams: int = 0
    head: int = 0
    """The position up to which the log was read."""
    found: int = 0
    """Number of findings. 0: all is well."""
    findings: list[Finding] = []
    """The first of them."""

    def add(self, kind: str, position: int | None, stream: str | None, problem: str) -> None:
        """Note a finding."""
        self.found += 1
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(kind, position, stream, problem))


async def verify(store: EventStore, *, on_progress: Callable[[int, int], None] | None = None) -> Verified:
    """Check everything stored up to the present head. Others may go on appending.

    ``on_progress`` is called now and then with the position reached and the head. Each event costs about 60 bytes of
    temporary disk; memory stays bounded.
    """
    verified = Verified()
    try:
        size = await store.head()
        with Buckets(size) as ids, Buckets(size) as versions, Buckets(size) as heads:
            await _note_heads(store, heads, verified)
            verified.head = await store.head()
            await _read_log(store, verified, ids, versions, on_progress)
            await _check_ids(store, ids, verified)
            await _check_streams(store, versions, heads, verified)
    except CorruptStore as error:
        verified.add("unreadable", None, None, f"the store can't be read on ({error.finding})")
    return verified


async def _note_heads(store: EventStore, heads: Buckets, verified: Verified) -> None:
    async for info in store.streams():
        verified.streams += 1
        heads.put(key_of(info.name), info.version, 0)


async def _read_log(
    store: EventStore,
    verified: Verified,
    ids: Buckets,
    versions: Buckets,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    last = 0
    async for event in store.read_all(before=verified.head + 1):
        verified.events += 1
        if event.position <= last:
            verified.add("position", event.position, event.stream, f"it comes after position {last}")
        last = event.position
        ids.put(event.raw_id, event.position, 0)
        if event.stream is not None:
            versions.put(key_of(event.stream), event.version, event.position)
        for problem in _faults_in(event, store):
            verified.add("data", event.position, event.stream, problem)
        if verified.events % _LOOKED_UP_EVERY == 1:
            await _look_up(store, event, verified)
        if on_progress and verified.events % 5_000 == 0:
            on_progress(event.position, verified.head)


def _faults_in(event: Event, store: EventStore) -> Iterator[str]:
    for what, raw in (
        ("data", event.raw_data if is_json(event.content_type) else b""),
        ("metadata", event.raw_metadata),
    ):
        try:
            if raw or (what == "data" and is_json(event.content_type)):
                msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield f"its {what} can't be decoded: {error}"
    limits = store.limits
    names = [("event type", event.type)] + [("tag", tag) for tag in event.tags]
    for what, name in names if event.stream is None else [("stream name", event.stream), *names]:
        try:
            checked_name(what, name, "stream_name_bytes_max", max(limits.stream_name_bytes_max, limits.tag_bytes_max))
        except InvalidEvent as error:
            yield error.what
    if event.stream is None and event.version != 0:
        yield f"it belongs to no stream, but has version {event.version}"


async def _look_up(store: EventStore, event: Event, verified: Verified) -> None:
    if await store.event(event.id) is None:
        verified.add("index", event.position, event.stream, f"it is not found by its id {event.id}")
    items = [("type", QueryItem(types=[event.type]))]
    if event.stream is not None:
        items.append(("stream", QueryItem(streams=[event.stream])))
    items.extend((f"tag {tag!r}", QueryItem(tags=[tag])) for tag in event.tags)
    for what, item in items:
        if not await _finds(store, Query([item]), event.position):
            verified.add("index", event.position, event.stream, f"it is not found by its {what}")


async def _finds(store: EventStore, query: Query, position: int) -> bool:
    async for _ in store.read_all(after=position - 1, before=position + 1, query=query):
        return True
    return False


async def _check_ids(store: EventStore, ids: Buckets, verified: Verified) -> None:
    """No id twice. Each bucket is held on its own."""
    for bucket in ids.each():
        seen: dict[bytes, int] = {}
        for id, position, _ in bucket:
            first = seen.setdefault(id, position)
            if first != position:
                verified.add("id", position, None, f"its id {uuid.UUID(bytes=id)} stands already at position {first}")


async def _check_streams(store: EventStore, versions: Buckets, heads: Buckets, verified: Verified) -> None:
    """Versions without holes, and the last of each stream what the store says it is."""
    for bucket, said in zip(versions.each(), heads.each(), strict=True):
        last = await _check_versions(store, bucket, verified)
        for key, version, _ in said:
            logged, position = last.pop(key, (0, None))
            if logged != version:
                await _recheck(store, key, logged, position, verified)
        for key, (logged, position) in last.items():
            await _recheck(store, key, logged, position, verified)


async def _check_versions(
    store: EventStore, records: Iterable[tuple[bytes, int, int]], verified: Verified
) -> dict[bytes, tuple[int, int]]:
    """Each stream's last version and its position."""
    last: dict[bytes, tuple[int, int]] = {}
    for key, version, position in records:
        before, _ = last.get(key, (0, 0))
        if version != before + 1:
            stream = await _stream_at(store, position)
            verified.add("version", position, stream, f"version {version} comes after version {before}")
        last[key] = (max(version, before), position)
    return last


async def _stream_at(store: EventStore, position: int) -> str | None:
    async for event in store.read_all(after=position - 1, before=position + 1):
        return event.stream
    return None


async def _recheck(store: EventStore, key: bytes, logged: int, position: int | None, verified: Verified) -> None:
    """The log and the list of streams differ. Somebody may have appended since: ask again before judging."""
    name = await _name_of(store, key) if position is None else await _stream_at(store, position)
    if name is None:
        verified.add("head", position, None, "a stream was listed that is not there any more")
        return
    info = await store.stream(name)
    if info is None:
        verified.add("head", position, name, f"the stream is not listed, but its last event has version {logged}")
    elif info.version != logged and not await _has_grown(store, name, info.version, verified.head):
        problem = f"the stream is listed at version {info.version}, but its last event has version {logged}"
        verified.add("head", position, name, problem)


async def _has_grown(store: EventStore, name: str, version: int, head: int) -> bool:
    """Whether the stream came to this version after the log was read."""
    query = Query([QueryItem(streams=[name])])
    async for event in store.read_all(after=head, query=query, backwards=True, limit=1):
        return event.stream == name and event.version >= version
    return False


async def _name_of(store: EventStore, key: bytes) -> str | None:
    """The listed stream with this key. Only looked for when something is wrong."""
    async for info in store.streams():
        if key_of(info.name) == key:
            return info.name
    return None
