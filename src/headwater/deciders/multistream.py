"""One decision over several streams: what follows is appended to all of them, or to none.

For what no single stream can decide (money from one account to another), and for process managers: deciders whose own
state is in a stream beside those that they act on.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from headwater.backend import Appended
from headwater.deciders.aggregate import Aggregate
from headwater.deciders.commands import CONFLICTS, Executed, append_surely, caused_by, encoded, executed, settled
from headwater.deciders.repository import Repository
from headwater.errors import InvalidEvent
from headwater.queries import AppendCondition, Query, QueryItem
from headwater.store import EventStore
from headwater.subscriptions import Retry
from headwater.writing import Append

__all__ = ["Streams", "execute_all", "store_of"]

Streams = Mapping[str, tuple[Repository[Any, Any], str]]
"""Streams by the names that a decision knows them by, each with the repository whose rule it follows."""


async def execute_all(
    streams: Streams,
    decide: Callable[[Mapping[str, Any]], Mapping[str, Iterable[object]] | None],
    *,
    id: uuid.UUID | str | None = None,
    metadata: Mapping[str, Any] | None = None,
    tags: Iterable[str] = (),
    retry: Retry = CONFLICTS,
) -> dict[str, Executed]:
    """Load the states of several streams, decide once on all of them, and append what was decided: all or none.

    ``await execute_all({"source": (accounts, "account-1"), "target": (accounts, "account-2")}, transfer)``. Where
    somebody else appended to any of the streams meanwhile, all of it is done again: to those, too, to which nothing is
    appended, which needs ``capabilities.append_condition``. Exceptions of ``decide`` pass through.

    Arguments:
        streams: what the decision is about: a name for each, its repository and the stream. One store's.
        decide: gets the states by name, gives the events by name, or raises. ``RULE.decide(command, states["source"])``
            lets a stream's own rule say what follows; what an ``Aggregate``'s methods record needs no giving back. It
            must have no other effect: it runs again after a conflict.
        id: of the command. The same id again, now or in a year, gives the first result and decides nothing; where
            nothing else is known of their cause, the events carry it as their ``causation_id``. In a reactor:
            ``reaction.key``, with a number of your own after it for a second command.
        metadata: of the events, beside what the present ``trace`` says. ``tags``: beside those of their classes.
        retry: how often to decide anew after a conflict, and how long to wait before.

    Returns what came of it for each stream that was appended to, by name: ``{}`` where nothing was decided.

    Raises ``WrongExpectedVersion`` or ``AppendConditionFailed`` where there was a conflict each time, ``InvalidEvent``
    where the streams or what was decided make no sense, and as ``EventStore.append_all`` does.
    """
    store = store_of(streams)
    command = None if id is None else str(id)
    tags = tuple(tags)

    async def once() -> dict[str, Executed] | None:
        head = await store.head()
        loaded = {name: await repository.load(stream) for name, (repository, stream) in streams.items()}
        before = {} if command is None else await _executed(streams, command)  # now: it may have been done meanwhile
        if before:
            return before
        decided = _decided(decide, {name: each.state for name, each in loaded.items()})
        if not decided:
            return {}
        new = {
            name: encoded(streams[name][0]._codec, streams[name][1], bodies, command, metadata, tags)
            for name, bodies in decided.items()
        }
        appends = [Append(streams[name][1], events, loaded[name].expected) for name, events in new.items()]
        appends[0] = msgspec.structs.replace(appends[0], condition=_unchanged(streams, decided, head))
        with caused_by(command):
            done, ours = await _append_surely(store, appends, retry)
        if not ours:
            return None
        return {
            name: Executed(bodies, each.version, each.position)
            for (name, bodies), each in zip(decided.items(), done, strict=True)
        }

    return await settled(once, retry, named=command is not None)


def store_of(streams: Streams) -> EventStore:
    """The one store that all of the streams are in. ``InvalidEvent`` where there is no such one."""
    if not streams:
        raise InvalidEvent("there are no streams to decide on", "Give at least one: {name: (repository, stream)}.")
    names: dict[str, str] = {}
    for name, (_, stream) in streams.items():
        if stream in names:
            raise InvalidEvent(
                f"stream {stream!r} stands under two names, {names[stream]!r} and {name!r}",
                "Give each stream one name; refuse what makes no sense with one stream before you call this.",
            )
        names[stream] = name
    stores = {each._store.identity: each._store for each, _ in streams.values()}
    if len(stores) > 1:
        raise InvalidEvent(
            f"the repositories are of {len(stores)} stores, and no append goes to more than one",
            "Use repositories of one store; between stores, a reactor carries what follows.",
        )
    return next(iter(stores.values()))


async def _executed(streams: Streams, command: str) -> dict[str, Executed]:
    """What came of the command of this id, by name; empty where it has no events yet."""
    found: dict[str, Executed | None] = {}
    for _ in range(2):  # they are all there once one is, and the first look may have been too early for some
        for name, (repository, stream) in streams.items():
            found[name] = await executed(repository._store, repository._codec, stream, command)
        if not any(found.values()):
            break
    return {name: before for name, before in found.items() if before is not None}


def _decided(
    decide: Callable[[Mapping[str, Any]], Mapping[str, Iterable[object]] | None], states: Mapping[str, Any]
) -> dict[str, list[object]]:
    """The events that the decision gives or its aggregates recorded, of streams that have any."""
    given = decide(states) or {}
    if not isinstance(given, Mapping) or not set(given) <= set(states):
        what = f"events for {sorted(set(given) - set(states))}" if isinstance(given, Mapping) else repr(given)
        raise InvalidEvent(f"the decision gives {what}", f"Give events by name: of {', '.join(map(repr, states))}.")
    decided = {name: _events_of(state, given.get(name, ())) for name, state in states.items()}
    return {name: events for name, events in decided.items() if events}


def _events_of(state: Any, given: Iterable[object]) -> list[object]:
    return [*given, *(state.take_recorded() if isinstance(state, Aggregate) else ())]


def _unchanged(streams: Streams, decided: Mapping[str, Sequence[object]], head: int) -> AppendCondition | None:
    """The condition that nothing came to the streams that were only read. The others have an expected version."""
    read = [stream for name, (_, stream) in streams.items() if name not in decided]
    return AppendCondition(Query([QueryItem(streams=read)]), head) if read else None


async def _append_surely(store: EventStore, appends: Sequence[Append], retry: Retry) -> tuple[list[Appended], bool]:
    """``append_surely`` for all of them at once: they are one append, so the last tells about each."""
    results: list[Appended] = []

    async def append() -> Appended:
        results[:] = await store.append_all(appends)
        return results[-1]

    _, ours = await append_surely(append, retry)
    return results, ours
