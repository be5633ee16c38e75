"""Loading, deciding and appending: with the expected version, again after a conflict, once for each command."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec

from headwater.codecs import people_in
from headwater.deciders.aggregate import Aggregate, AggregateDecider
from headwater.deciders.commands import CONFLICTS, Executed, append_surely, caused_by, encoded, executed, settled
from headwater.deciders.decider import Decider
from headwater.deciders.recorded import Commands
from headwater.deciders.snapshots import Kept, KeptStates, SnapshotEvery, age_seconds
from headwater.events import Event
from headwater.queries import NO_STREAM, ExpectedVersion
from headwater.store import EventStore
from headwater.subscriptions import Retry
from headwater.typed import Codec, InvalidType
from headwater.waiting import running_loop

__all__ = ["Loaded", "Repository"]

C = TypeVar("C")
S = TypeVar("S")


class Loaded(msgspec.Struct, Generic[S], frozen=True):
    """A stream's state, as of its last event."""

    state: S
    version: int
    """Of the stream; 0 where it has no events."""
    replayed: int
    """Events that were read for it; the others are in the snapshot."""
    expected: ExpectedVersion
    """What an append that relies on this state has to expect."""


class Repository(Generic[C, S]):
    """Executes commands on the streams that one rule is about.

    Arguments:
        store: an open store.
        codec: knows the classes of the events.
        rule: a ``Decider``, or a subclass of ``Aggregate``; its commands are functions of it, such as
            ``lambda loan: loan.approve("anna")``.
        snapshots: keep states now and then, so that long streams load quickly. None: read all events each time.
        retry: how often to decide anew after a conflict, and how long to wait before; pauses are random.
        commands: the classes of the rule's commands, to keep each with its events: ``headwater replay-decisions`` then
            tells which of them today's rule would decide otherwise. None: keep none.
    """

    def __init__(
        self,
        store: EventStore,
        codec: Codec,
        rule: Decider[C, S] | type[Aggregate],
        *,
        snapshots: SnapshotEvery | None = None,
        retry: Retry = CONFLICTS,
        commands: Commands | None = None,
    ) -> None:
        if commands is not None and not isinstance(rule, Decider):
            raise InvalidType(rule.__name__, "has commands that are functions, which can't be kept", "Use a Decider.")
        self._store = store
        self._commands = commands
        self._codec = codec
        self._rule: Decider[Any, Any] = rule if isinstance(rule, Decider) else AggregateDecider(rule)
        self._retry = retry
        self._every = snapshots
        self._kept: KeptStates[Any] = KeptStates(
            store.snapshots, self._rule.name, self._rule.version, self._rule.restore
        )
        self._saving: set[asyncio.Task[None]] = set()

    async def load(self, stream: str) -> Loaded[S]:
        """The state of a stream: from its snapshot where there is a good one, and the events since."""
        if self._every is not None and (kept := await self._kept.load(stream)) is not None:
            loaded = await self._folded(stream, kept)
            if loaded is not None:
                return loaded
        loaded = await self._folded(stream, None)
        assert loaded is not None
        return loaded

    async def _folded(self, stream: str, kept: Kept[Any] | None) -> Loaded[Any] | None:
        """The state; None where the snapshot does not belong to what the stream shows now (it was deleted since, or
        the store was restored from an older backup)."""
        rule = self._rule
        state = rule.initial() if kept is None else kept.state
        version, count, size, last = 0 if kept is None else kept.version, 0, 0, None
        people = set(() if kept is None else kept.subjects)
        async with aclosing(self._store.read(stream, after=0 if kept is None else kept.version - 1)) as events:
            if kept is not None:
                first = await anext(events, None)
                if first is None or first.version != kept.version or str(first.id) != kept.event_id:
                    return None
            async for event, body in self._codec.read(events):
                state = rule.evolve(state, body)
                count, size, last = count + (event is not last), size + len(event.raw_data), event
                people |= people_in(event.raw_metadata)
        if last is not None:
            version = last.version
            await self._keep(stream, state, last, kept, count, size, people)
        expected = version or await self._expected_of_empty(stream)
        return Loaded(state, version, count, expected)

    async def _expected_of_empty(self, stream: str) -> ExpectedVersion:
        """Nothing is shown of the stream: it has none, it was deleted, or all events are out of its policy."""
        info = await self._store.stream(stream)
        return NO_STREAM if info is None or info.state != "open" else info.version

    async def _keep(
        self, stream: str, state: Any, last: Event, kept: Kept[Any] | None, count: int, size: int, people: set[str]
    ) -> None:
        age = age_seconds(kept.saved_us) if kept is not None else 0.0
        if self._every is None or not self._every.wanted(count, age, size):
            return
        saving = self._kept.save(stream, self._rule.dump(state), last, sorted(people))
        if running_loop() is None:
            await saving
            return
        task = asyncio.get_running_loop().create_task(saving, name=f"headwater snapshot {stream}")
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)

    async def settle(self) -> None:
        """Wait for snapshots that are being saved in the background. Before the store is closed, for instance."""
        if self._saving:
            await asyncio.gather(*self._saving)

    async def execute(
        self,
        stream: str,
        command: C,
        *,
        id: uuid.UUID | str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        occurred_at: datetime | None = None,
    ) -> Executed:
        """Load the stream's state, decide, and append what was decided, with the version that was loaded.

        Where somebody else appended meanwhile, all of it is done again. The rule's own exceptions pass through.

        Arguments:
            id: of the command. The same id again, now or in a year, gives the first result and decides nothing; the
                events carry it as their ``causation_id``, where the present ``trace`` says no other cause (as it does
                in a reactor: its event).
            metadata: of the events, beside what the present ``trace`` says.
            tags: of the events, beside those that their classes declare.
            occurred_at: when it happened in the world, where that differs from when it is recorded.

        Raises ``WrongExpectedVersion`` where there was a conflict each time, and as ``EventStore.append`` does.
        """
        name = None if id is None else str(id)
        tags = tuple(tags)

        async def once() -> Executed | None:
            loaded = await self.load(stream)  # before the look-up: the command may be executed meanwhile
            if name is not None and (before := await executed(self._store, self._codec, stream, name)) is not None:
                return before
            decided = self._rule.decide(command, loaded.state)
            if not decided:
                return Executed((), loaded.version, 0)
            new = encoded(self._codec, stream, decided, name, metadata, tags, occurred_at)
            if self._commands is not None:
                self._commands.keep(command, new)
            with caused_by(name):
                done, ours = await append_surely(
                    partial(self._store.append, stream, new, expected=loaded.expected), self._retry
                )
            return Executed(decided, done.version, done.position) if ours else None

        return await settled(once, self._retry, named=name is not None)
