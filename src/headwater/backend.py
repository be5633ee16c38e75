"""THE CONTRACT between the store and a technology: the smallest that the rest of the house needs.

A backend receives values that are checked and encoded already (``Write``, ``Query``), and hands back plain values.
It keeps the promises of ``docs/guarantees.md``; where it can't, its ``capabilities`` say so. ``headwater.testing``
holds the suite that shows it, for third parties' backends too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

import msgspec

from headwater.events import Event, EventRecord, datetime_of, is_json
from headwater.queries import ANY, AppendCondition, ExpectedVersion, Query

__all__ = [
    "Appended",
    "Appender",
    "Backend",
    "Capabilities",
    "Checkpoint",
    "Examined",
    "Forgotten",
    "Page",
    "Record",
    "RecordChange",
    "Sealer",
    "Snapshot",
    "StreamInfo",
    "StreamPolicy",
    "StreamState",
    "Subject",
    "Write",
    "beyond",
    "sealer_of",
    "size_of",
]

StreamState = Literal["open", "deleted", "tombstoned"]


class Write(msgspec.Struct, frozen=True):
    """One stream's part of an append, encoded. ``stream`` None: events that belong to no stream."""

    stream: str | None
    records: tuple[EventRecord, ...]
    expected: ExpectedVersion = ANY
    condition: AppendCondition | None = None


class Appended(msgspec.Struct, frozen=True):
    """What came of an append: the stream's new version, the position of its last event, and whether it was a retry."""

    version: int
    """The version of the last event appended; 0 where there is no stream."""
    position: int
    """The position of the last event appended."""
    duplicate: bool = False
    """True where these very events were stored before: nothing was written, and this is where they are."""


class Page(msgspec.Struct, frozen=True):
    """Some events in order, and how far the reader has come by them."""

    events: list[Event]
    last: int
    """The place (position, or version when reading a stream) up to which everything asked for is in ``events``.

    Reading forwards with a query, it may be higher than the last event's: the stretch between holds no match.
    """
    more: bool
    """Whether more may follow: read on with ``last`` as ``after`` (as ``before`` when reading backwards)."""


def size_of(events: Sequence[Event]) -> int:
    """Bytes of data and metadata that these events hold: what ``Limits.page_bytes_max`` counts."""
    return sum([len(event.raw_data) + len(event.raw_metadata) for event in events])


def beyond(prefix: str) -> str:
    """A text above every name that starts with the prefix, and above no other."""
    kept = prefix.rstrip("\U0010ffff")
    if not kept:
        return "\U0010ffff" * 4096  # nothing starts higher, and no name is as long
    last = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if 0xD800 <= last <= 0xDFFF else last)


class StreamPolicy(msgspec.Struct, frozen=True):
    """What readers of a stream still see. Nothing is removed, and the log as a whole still shows every event."""

    truncate_before: int = 0
    """Events below this version are out."""
    max_age: timedelta | None = None
    """Events recorded longer ago than this are out."""
    max_count: int | None = None
    """All but the last so many events are out."""


class StreamInfo(msgspec.Struct, frozen=True):
    """What is known of a stream. Times are microseconds since 1970-01-01 UTC."""

    name: str
    category: str
    version: int
    """Version of its last event, seen or not."""
    first_version: int
    """First version that a reader still sees; ``version + 1`` where none is to be seen."""
    created_us: int
    last_us: int
    """When its last event was recorded."""
    state: StreamState
    policy: StreamPolicy

    @property
    def created_at(self) -> datetime:
        """When its first event was recorded, in UTC."""
        return datetime_of(self.created_us)

    @property
    def last_at(self) -> datetime:
        """When its last event was recorded, in UTC."""
        return datetime_of(self.last_us)

    @property
    def deleted(self) -> bool:
        """Whether readers see nothing of it because it was deleted or tombstoned."""
        return self.state != "open"


class Snapshot(msgspec.Struct, frozen=True):
    """A folded state, kept beside the log to save a replay. Never the truth."""

    name: str
    """Of what: a stream's name, or any other."""
    version: int
    """The version (or position) up to which events are folded in."""
    raw_state: bytes
    content_type: str
    schema: str
    """The writer's name for the state's shape: load with another one and nothing is found."""
    saved_us: int
    subjects: tuple[str, ...] = ()
    """The people whose personal data it holds, where it was sealed for them."""

    @property
    def state(self) -> Any:
        """The state: decoded where it is JSON, else bytes."""
        return msgspec.json.decode(self.raw_state) if is_json(self.content_type) else self.raw_state


class Checkpoint(msgspec.Struct, frozen=True):
    """How far a consumer has come, and in which store. Its text form is ``identity@position``."""

    store: str
    """The identity of the store."""
    position: int

    def __str__(self) -> str:
        return f"{self.store}@{self.position}"


class Record(msgspec.Struct, frozen=True):
    """A small thing kept beside the log by name: a consumer's progress, a lease, a parked event."""

    name: str
    value: bytes
    revision: int
    """Rises with every change of this name, over a removal too: no two values of a name ever share one."""
    age_us: int
    """How long before it was loaded it was saved, in microseconds by the technology's own clock."""


class RecordChange(msgspec.Struct, frozen=True):
    """A record's new value, and what must stand there now."""

    name: str
    value: bytes | None
    """None: remove it."""
    expected: int | None = None
    """The revision it must have; 0: it must not exist; None: whatever."""


class Subject(msgspec.Struct, frozen=True):
    """A person whom sealed data are about, as the vault knows them."""

    subject: str
    key: str
    """The id of the present key; '' where there is none."""
    made_us: int
    """When that key was made: microseconds since 1970-01-01 UTC; 0 where there is none."""
    forgotten: dict[str, int]
    """The ids of the keys that were destroyed, and when: microseconds since 1970-01-01 UTC."""


class Forgotten(msgspec.Struct, frozen=True):
    """What came of forgetting a person."""

    subject: str
    keys: int
    """How many keys of this person have been destroyed so far."""
    at_us: int
    """When the last one was: microseconds since 1970-01-01 UTC."""
    remains: str
    """Where the vault's technology itself may still hold the key, in a sentence; '' where nowhere."""

    @property
    def at(self) -> datetime:
        """When the last key was destroyed, in UTC."""
        return datetime_of(self.at_us)


class Examined(msgspec.Struct, frozen=True):
    """One thing that was looked at in the technology below a store."""

    subject: str
    """What: ``durability``, ``clock``, ``horizon`` …"""
    state: Literal["well", "note", "wrong"]
    """``note``: worth knowing. ``wrong``: a promise is not kept, or will not be."""
    finding: str
    remedy: str = ""
    """What to do, where something is not well."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend promises, so that a program can ask instead of finding out."""

    backend: str
    durable: bool
    """An acknowledged event survives the process and the machine's power."""
    shared: bool
    """Several processes can use one store at a time."""
    order: Literal["total", "partition"]
    """Whether positions order the whole log or a partition of it."""
    gapless_positions: bool
    append_condition: bool
    """Conditions by query, atomic with the append."""
    atomic_streams: bool
    """Appends over several streams, all or none."""
    read_backwards: bool
    caller_transaction: bool
    """``store.bind``: an append inside the caller's own transaction."""
    stream_policies: bool
    snapshots: bool
    checkpoints: bool
    records: bool
    """Records beside the log, changed by compare-and-swap: durable consumers, groups and projections stand on them."""


class Appender(Protocol):
    """The part of a backend that writes."""

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        """Store all the writes or none, durably, and say where each one's last event is.

        Each stream stands in one write at most. Ids that are all stored already, in these streams and this order:
        the first result, with ``duplicate``, whatever is expected by now. Raises ``DuplicateEvent`` where they are
        stored otherwise, ``WrongExpectedVersion``, ``AppendConditionFailed``, ``StreamDeleted``, and
        ``OutcomeUnknown`` where the technology went away half-way and can't be asked again.

        The writes stand in the log in the order given. The events of one write share their ``recorded_us``.
        """
        ...


class Sealer(Protocol):
    """Seals personal data under keys of a vault. Whatever appends to a store with a vault has one: ``sealer_of``."""

    async def seal(self, writes: Sequence[Write]) -> list[Write]:
        """The writes, with what their metadata mark as personal sealed. ``InvalidEvent`` where a mark fits nothing."""
        ...

    async def seal_state(self, name: str, raw: bytes, subjects: Sequence[str]) -> bytes:
        """A state that holds data about these people: to be opened while the keys of all of them are there."""
        ...

    async def open_state(self, name: str, sealed: bytes) -> tuple[bytes, tuple[str, ...]] | None:
        """What ``seal_state`` sealed, and whom it is about; None where somebody's key is gone."""
        ...

    async def forget(self, subject: str) -> Forgotten | None:
        """Destroy the key of a person; None where there never was one."""
        ...

    async def subject(self, subject: str) -> Subject | None:
        """What the vault knows of a person; None where there never was a key."""
        ...

    def subjects(self) -> AsyncGenerator[list[Subject], None]:
        """Everybody whom there is or was a key of, in order of their ids, page by page."""
        ...


def sealer_of(appender: Appender) -> Sealer | None:
    """What seals personal data there; None where the store has no vault."""
    sealer: Sealer | None = getattr(appender, "sealer", None)
    return sealer


class Backend(Appender, Protocol):
    """What a technology must do. Every method may be called from many tasks at once.

    A page of events ends early, with ``more``, once its events hold ``Limits.page_bytes_max`` bytes (``size_of``); a
    few events more do no harm.

    All raise ``StoreUnavailable`` where the technology can't be reached, and ``CorruptStore`` where what they find
    can't be trusted.
    """

    @property
    def identity(self) -> str:
        """A UUID made with the store, that copies of its checkpoints carry."""
        ...

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def stepped(self) -> bool:
        """True where every method waits only through ``headwater.waiting``, so it runs without an event loop."""
        ...

    def bind(self, connection: Any) -> Appender:
        """An appender inside the caller's own open transaction. ``NotSupported`` where there is no such thing."""
        ...

    async def read_stream(self, stream: str, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        """Events of a stream with ``after < version < before`` that its policy lets be seen, at most ``limit``."""
        ...

    async def read_all(self, query: Query | None, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        """Events of the log with ``after < position < before`` that match, at most ``limit``.

        Forwards, an event is handed out only when no event below its position can appear any more.
        """
        ...

    async def head(self) -> int:
        """The position up to which the log is settled: nothing will ever appear at or below it. 0 when empty."""
        ...

    async def wait(self, after: int, seconds: float) -> bool:
        """Wait until ``head`` may be higher than ``after``, at most so long. False on time-out. May wake early."""
        ...

    async def event(self, id: bytes) -> Event | None:
        """The event with this id (16 bytes)."""
        ...

    async def stream(self, name: str) -> StreamInfo | None: ...

    async def streams(self, category: str | None, prefix: str | None, after: str, limit: int) -> list[StreamInfo]:
        """Streams by name (in the order of their UTF-8 bytes), from the first name higher than ``after``."""
        ...

    async def categories(self) -> list[tuple[str, int]]:
        """Each category and its number of streams, by name."""
        ...

    async def set_policy(self, stream: str, policy: StreamPolicy) -> None:
        """Replace the policy of a stream that exists. ``WrongExpectedVersion`` where it does not."""
        ...

    async def delete_stream(self, stream: str, expected: ExpectedVersion, tombstone: bool) -> None:
        """Hide the events so far from the stream's readers; with ``tombstone``, refuse the name for ever."""
        ...

    async def save_snapshot(self, snapshot: Snapshot) -> None: ...

    async def load_snapshot(self, name: str) -> Snapshot | None: ...

    async def delete_snapshot(self, name: str) -> None: ...

    async def load_snapshots(self, after: str, limit: int) -> list[Snapshot]:
        """All snapshots by name, from the first name higher than ``after``."""
        ...

    async def save_checkpoint(self, name: str, position: int) -> None: ...

    async def load_checkpoint(self, name: str) -> int | None: ...

    async def load_records(self, prefix: str, after: str = "", limit: int = 10_000) -> list[Record]:
        """The records whose names start with ``prefix``, from the first name higher than ``after``, by name."""
        ...

    async def save_records(self, changes: Sequence[RecordChange]) -> list[int]:
        """Make all the changes or none, durably; the new revisions (0 for a removal), in the same order.

        Each name stands in one change at most. Raises ``StaleRecord`` where a record is not as expected.
        """
        ...

    async def scrub(self) -> str:
        """Make what was removed or replaced beside the log unreadable in the technology's own files, as far as can be.

        Returns where it may still be found, in a sentence; '' for nowhere.
        """
        ...

    async def examine(self) -> list[Examined]:
        """Look at the technology: its version and settings, clocks, room, and what holds readers or writers up."""
        ...

    async def close(self) -> None:
        """Finish what was acknowledged, let go of everything. A second call does nothing."""
        ...
