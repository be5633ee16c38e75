"""What a group is told by its clients: settings, where it starts, which events. Kept as an event of its own stream."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import grpc
import msgspec

from headwater.queries import Query, QueryItem
from headwater.server.kurrentdb.filters import Filter, Source, everything
from headwater.server.kurrentdb.recorded import name_of
from headwater.server.kurrentdb.refusals import Refused, case
from headwater.server.kurrentdb.virtual import virtual_of
from headwater.store import EventStore

__all__ = ["ALL", "STRATEGIES", "Described", "described", "group_failed", "source_of"]

ALL = "$all"
STRATEGIES = ("DispatchToSingle", "RoundRobin", "Pinned", "PinnedByCorrelation")
"""By their numbers in the protocol, and one that is told by its name only."""

_TICKS_A_MILLISECOND = 10_000
_PLACE_MOST = (1 << 62) - 1


class Described(msgspec.Struct, frozen=True):
    """A group, as its clients made it."""

    source: str
    """The stream, or ``$all``."""
    group: str
    id: str
    """Made with the group: its place is kept under it, so that a later group of the same name starts anew."""
    start: str
    """Where it starts, as it is shown."""
    after: int
    """Its first event is above this position."""
    version: int
    """And of a stream above this version."""
    filter: Source | None
    resolve_links: bool
    extra_statistics: bool
    message_timeout_ms: int
    max_retry_count: int
    checkpoint_after_ms: int
    min_checkpoint_count: int
    max_checkpoint_count: int
    max_subscriber_count: int
    live_buffer_size: int
    read_batch_size: int
    history_buffer_size: int
    strategy: str

    @property
    def key(self) -> str:
        """Source and name in one."""
        return f"{self.source}::{self.group}"

    @property
    def parked_stream(self) -> str:
        """Where links to what its consumers could not handle are."""
        return f"$persistentsubscription-{self.key}-parked"

    def wanted(self) -> Filter:
        """Which events of the log it gets."""
        if self.source == ALL:
            chosen = self.filter.filter() if self.filter is not None else Filter(everything)
            return Filter(lambda event: not _of_groups(event.stream) and chosen.matches(event), chosen.query)
        virtual = virtual_of(self.source)
        if virtual is not None:
            return Filter(virtual.wants, virtual.query)
        version = self.version
        return Filter(lambda event: event.version > version, Query([QueryItem(streams=[self.source])]))


def _of_groups(stream: str | None) -> bool:
    """Streams that groups write themselves: a group that read them would feed on its own work."""
    return stream is not None and stream.startswith(("$persistentsubscription-", "$persistentconfig-"))


def source_of(options: Any) -> str:
    """The stream that options name, or ``$all``."""
    kind = options.WhichOneof("stream_option")
    if kind == "all":
        return ALL
    given = options.stream if kind == "stream" else options
    return name_of(given.stream_identifier)


async def described(options: Any, store: EventStore, present: Described | None = None) -> Described:
    """A group from the options of a call; ``present`` where one is changed: its filter and its place stay."""
    source, settings = source_of(options), options.settings
    if not options.group_name:
        raise group_failed(source, options.group_name, "the group's name is empty")
    start, after, version = await _start(options, source, store)
    made = Described(
        source=source,
        group=options.group_name,
        id=present.id if present is not None else str(uuid.uuid4()),
        start=start,
        after=after,
        version=version,
        filter=present.filter if present is not None else _filter(options, source),
        resolve_links=settings.resolve_links,
        extra_statistics=settings.extra_statistics,
        message_timeout_ms=_milliseconds(settings, "message_timeout"),
        max_retry_count=settings.max_retry_count,
        checkpoint_after_ms=_milliseconds(settings, "checkpoint_after"),
        min_checkpoint_count=settings.min_checkpoint_count,
        max_checkpoint_count=settings.max_checkpoint_count,
        max_subscriber_count=settings.max_subscriber_count,
        live_buffer_size=settings.live_buffer_size,
        read_batch_size=settings.read_batch_size,
        history_buffer_size=settings.history_buffer_size,
        strategy=_strategy(settings),
    )
    _check(made)
    return made


async def _start(options: Any, source: str, store: EventStore) -> tuple[str, int, int]:
    """How the start is shown, and the position and version behind which it is."""
    if source == ALL:
        where = options.all.WhichOneof("all_option")
        if where == "position":
            position = min(options.all.position.commit_position, _PLACE_MOST)
            return f"C:{position}/P:{position}", max(0, position - 1), 0
        if where == "end":
            return "C:-1/P:-1", await store.head(), 0
        return "C:0/P:0", 0, 0
    where = options.stream.WhichOneof("revision_option")
    if where == "end":
        return "-1", await store.head(), 0
    if options.WhichOneof("stream_option") is None:
        where = "revision"  # an old client: it stands in the settings
    revision = options.stream.revision if options.WhichOneof("stream_option") else options.settings.revision
    revision = min(revision, _PLACE_MOST) if where == "revision" else 0
    if virtual_of(source) is not None:
        return str(revision), max(0, revision - 1), 0
    return str(revision), 0, revision


def _filter(options: Any, source: str) -> Source | None:
    if source != ALL or options.all.WhichOneof("filter_option") != "filter":
        return None
    return Source.of(options.all.filter)


def _milliseconds(settings: Any, name: str) -> int:
    if settings.WhichOneof(name) == f"{name}_ticks":
        return int(getattr(settings, f"{name}_ticks")) // _TICKS_A_MILLISECOND
    return int(getattr(settings, f"{name}_ms"))


def _strategy(settings: Any) -> str:
    named = getattr(settings, "consumer_strategy", "")  # not in what changes a group
    if named:
        return str(named)
    number = settings.named_consumer_strategy
    return STRATEGIES[number] if 0 <= number < len(STRATEGIES) else str(number)


def _check(made: Described) -> None:
    problems: Sequence[tuple[bool, str]] = (
        (
            made.strategy not in STRATEGIES,
            f"the consumer strategy {made.strategy!r} is none of {', '.join(STRATEGIES)}",
        ),
        (made.message_timeout_ms < 0, "the message timeout is negative"),
        (made.checkpoint_after_ms <= 0, "checkpoint_after has to be more than 0"),
        (made.max_retry_count < 0, "the maximum of retries is negative"),
        (made.max_subscriber_count < 0, "the maximum of subscribers is negative"),
        (made.live_buffer_size <= 0, "the live buffer has to hold at least one event"),
        (made.read_batch_size <= 0, "a batch of reading has to hold at least one event"),
        (made.history_buffer_size <= 0, "the history buffer has to hold at least one event"),
        (
            made.read_batch_size >= made.history_buffer_size,
            "the history buffer has to be larger than a batch of reading",
        ),
        (
            made.min_checkpoint_count > made.max_checkpoint_count,
            "the minimum of events between checkpoints is above the maximum",
        ),
    )
    for wrong, sentence in problems:
        if wrong:
            raise group_failed(made.source, made.group, sentence)


def group_failed(source: str, group: str, reason: str) -> Refused:
    """The group can't be as asked."""
    trailers = case("persistent-subscription-failed", stream_name=source, group_name=group, reason=reason)
    return Refused(grpc.StatusCode.INTERNAL, f"Subscription group {group} on stream {source}: {reason}", trailers)
