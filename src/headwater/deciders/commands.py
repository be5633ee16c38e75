"""What executing a command means, whatever it is decided on: ids of its events, and what came of it before."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from headwater.backend import Appended
from headwater.errors import AppendConditionFailed, DuplicateEvent, OutcomeUnknown, WrongExpectedVersion
from headwater.events import Event, NewEvent
from headwater.store import EventStore
from headwater.subscriptions import Retry
from headwater.tracing import current_trace, trace
from headwater.typed import Codec
from headwater.waiting import sleep

__all__ = ["CONFLICTS", "Executed", "append_surely", "caused_by", "encoded", "executed", "settled"]

T = TypeVar("T")

NAMESPACE = uuid.UUID("b4b6a0f2-6d0e-5f6b-9d59-5b1f6c9e7a10")
"""Ids of events are made in it from a command's id, the stream and the event's number in it."""

CONFLICTS = Retry(attempts=10, first=0.005, most=0.5)
"""How often a command is decided anew where somebody else appended between loading and appending."""


class Executed(msgspec.Struct, frozen=True):
    """What came of a command."""

    events: Sequence[Any]
    """What was decided; nothing is appended where it is empty."""
    version: int
    """Of the stream afterwards."""
    position: int
    """Of the last event in the whole log, for ``wait_for``; 0 where nothing was appended."""
    duplicate: bool = False
    """The command of this id was executed before; these are its events."""


def event_id(command: str, stream: str | None, number: int) -> uuid.UUID:
    """The id of a command's event: executing the command again makes the same."""
    return uuid.uuid5(NAMESPACE, f"{command}/{stream or ''}/{number}")


def encoded(
    codec: Codec,
    stream: str | None,
    decided: Sequence[object],
    command: str | None,
    metadata: Mapping[str, Any] | None,
    tags: Iterable[str],
    occurred_at: datetime | None = None,
) -> list[NewEvent]:
    """What was decided, as new events."""
    tags = tuple(tags)
    return [
        codec.encode(
            body,
            id=None if command is None else event_id(command, stream, number),
            metadata=metadata,
            tags=tags,
            occurred_at=occurred_at,
        )
        for number, body in enumerate(decided, start=1)
    ]


async def executed(store: EventStore, codec: Codec, stream: str | None, command: str) -> Executed | None:
    """What came of the command of this id; None where it has no events yet."""
    events: list[Event] = []
    while (event := await store.event(event_id(command, stream, len(events) + 1))) is not None:
        events.append(event)
    if not events:
        return None
    bodies = [codec.decode(event) for event in events]
    return Executed(bodies, events[-1].version, events[-1].position, duplicate=True)


def caused_by(command: str | None) -> AbstractContextManager[object]:
    """Events that are appended meanwhile follow from the command, where nothing is said yet of what they follow from:
    in a reactor's handler that is its event, which the chain of causes goes back by."""
    return trace(causation_id=None if "causation_id" in current_trace() else command)


async def settled(once: Callable[[], Awaitable[T | None]], retry: Retry, *, named: bool) -> T:
    """What loading, deciding and appending come to, done again after a conflict, and where it gives None: then the same
    command was executed by somebody else meanwhile, and what came of it can be looked up.

    ``named``: the command has an id. Events of one without can't be there already, but by an error of the caller's.
    """
    attempt = 1
    while True:
        try:
            result = await once()
        except (WrongExpectedVersion, AppendConditionFailed, DuplicateEvent) as conflict:
            if (isinstance(conflict, DuplicateEvent) and not named) or not retry.again(attempt):
                raise
            await sleep(retry.pause(attempt))
            attempt += 1
        else:
            if result is not None:
                return result


async def append_surely(append: Callable[[], Awaitable[Appended]], retry: Retry) -> tuple[Appended, bool]:
    """Append, and again where the answer was lost: ids tell whether it was stored. The result, and whether these very
    events are ours rather than those of the same command, executed by somebody else."""
    attempt, lost = 1, False
    while True:
        try:
            done = await append()
        except OutcomeUnknown:
            if not retry.again(attempt):
                raise
            await sleep(retry.pause(attempt))
            attempt, lost = attempt + 1, True
        else:
            return done, lost or not done.duplicate
