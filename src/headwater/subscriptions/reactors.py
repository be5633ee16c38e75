"""Reactors: consumers whose handler does something in the world, or appends what follows from an event."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from headwater.backend import Appended, Backend
from headwater.events import Event, NewEvent
from headwater.limits import Limits
from headwater.queries import ANY, AppendCondition, ExpectedVersion
from headwater.subscriptions.inbox import Inbox
from headwater.subscriptions.scheduling import Scheduled, ScheduledEvents
from headwater.subscriptions.sinks import in_thread, in_turn, is_async
from headwater.tracing import trace
from headwater.writing import Append, BoundStore

__all__ = ["BlockingReaction", "Reacting", "Reaction", "ReactionHandler"]

T = TypeVar("T")

NAMESPACE = uuid.UUID("6f1d0a3e-5f0b-5c58-9d0b-3a7f6f0c2b11")
"""Ids and keys are made in it, from a reactor's name and an event's id."""


class Reaction:
    """What a reactor's handler may do about one event so that doing it again does not double it."""

    def __init__(
        self, backend: Backend, limits: Limits, scheduled: ScheduledEvents, reactor: str, event: Event
    ) -> None:
        self._store = BoundStore(backend, limits)
        self._scheduled = scheduled
        self._origin = f"{reactor}/{event.id}"
        self._event = event
        self._made = 0

    @property
    def key(self) -> str:
        """A text that is the same whenever this reactor gets this event: the idempotency key for another service."""
        return str(uuid.uuid5(NAMESPACE, self._origin))

    async def append(
        self,
        stream: str | None,
        events: Sequence[NewEvent] | NewEvent,
        *,
        expected: ExpectedVersion = ANY,
        condition: AppendCondition | None = None,
    ) -> Appended:
        """Append what follows from the event, to the same store. Arguments and errors as ``store.append``.

        The new events get ids made from the reactor's name, the event's id and their number in this reaction: when the
        event comes again, appending them again is a retry, as long as the handler decides the same. Their metadata
        get ``causation_id`` (the event's id) and ``correlation_id`` (the event's own, else its id) where they don't
        say something else, as all events do that are appended inside the handler.
        """
        return await self._store.append(stream, self._following(events), expected=expected, condition=condition)

    async def append_all(self, appends: Sequence[Append]) -> list[Appended]:
        """Append to several streams, all or none; ids and metadata as with ``append``."""
        following = [msgspec.structs.replace(each, events=self._following(each.events)) for each in appends]
        return await self._store.append_all(following)

    async def schedule(
        self, stream: str | None, events: Sequence[NewEvent] | NewEvent, *, due: datetime | timedelta
    ) -> Scheduled:
        """Append later: at a moment, or so long after the event was recorded. Ids and metadata as with ``append``.

        Some process must run ``store.scheduled.run()``.
        """
        moment = self._event.recorded_at + due if isinstance(due, timedelta) else due
        return await self._scheduled.add(stream, self._following(events), due=moment)

    def _following(self, events: Sequence[NewEvent] | NewEvent) -> Sequence[NewEvent]:
        given = (events,) if isinstance(events, NewEvent) else events
        if not isinstance(given, Sequence) or not all(isinstance(event, NewEvent) for event in given):
            return given  # the store says what is wrong with them
        return [self._follower(event) for event in given]

    def _follower(self, event: NewEvent) -> NewEvent:
        self._made += 1
        return NewEvent(
            event.type,
            event.data,
            id=uuid.uuid5(NAMESPACE, f"{self._origin}/{self._made}"),
            metadata=event.metadata,
            tags=event.tags,
            content_type=event.content_type,
            occurred_at=event.occurred_at,
        )


class BlockingReaction:
    """``Reaction`` for a handler that is a plain function, in a thread: the same without ``await``."""

    def __init__(self, reaction: Reaction, loop: asyncio.AbstractEventLoop) -> None:
        self._reaction = reaction
        self._loop = loop

    @property
    def key(self) -> str:
        """A text that is the same whenever this reactor gets this event: the idempotency key for another service."""
        return self._reaction.key

    def append(
        self,
        stream: str | None,
        events: Sequence[NewEvent] | NewEvent,
        *,
        expected: ExpectedVersion = ANY,
        condition: AppendCondition | None = None,
    ) -> Appended:
        """Append what follows from the event, to the same store. As ``headwater.Reaction.append``."""
        return self._run(self._reaction.append(stream, events, expected=expected, condition=condition))

    def append_all(self, appends: Sequence[Append]) -> list[Appended]:
        """Append to several streams, all or none. As ``headwater.Reaction.append_all``."""
        return self._run(self._reaction.append_all(appends))

    def schedule(
        self, stream: str | None, events: Sequence[NewEvent] | NewEvent, *, due: datetime | timedelta
    ) -> Scheduled:
        """Append later: at a moment, or so long after the event was recorded. As ``headwater.Reaction.schedule``."""
        return self._run(self._reaction.schedule(stream, events, due=due))

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


ReactionHandler = Callable[[Event, Reaction], Awaitable[None]] | Callable[[Event, BlockingReaction], None]
"""Takes an event and a ``Reaction``; a plain function, which runs in a thread of its own, a ``sync.Reaction``."""


class Reacting:
    """The sink of a reactor: the handler, once for each event that is not in the inbox."""

    def __init__(
        self, backend: Backend, limits: Limits, scheduled: ScheduledEvents, reactor: str, handler: ReactionHandler
    ) -> None:
        self._backend = backend
        self._limits = limits
        self._scheduled = scheduled
        self._reactor = reactor
        self._handler: Any = handler
        self._suspends = is_async(handler)
        self._inbox = Inbox(backend, reactor)

    async def start(self, part: int, position: int) -> int:
        """The part goes on at its checkpoint; what the inbox holds behind it is passed over."""
        await self._inbox.open(part)
        return position

    async def handle(self, part: int, events: Sequence[Event]) -> None:
        """Handle each event, and note it before the next one."""

        async def once(event: Event) -> None:
            if not self._inbox.holds(part, event):
                await self.react(event)
            await self._inbox.note(part, event)

        await in_turn(once, events)

    async def react(self, event: Event) -> None:
        """Run the handler for this event, whether it was handled before or not."""
        reaction = Reaction(self._backend, self._limits, self._scheduled, self._reactor, event)
        correlation = event.metadata.get("correlation_id") or str(event.id)
        with trace(correlation_id=correlation, causation_id=str(event.id)):
            if self._suspends:
                await self._handler(event, reaction)
            else:
                blocking = BlockingReaction(reaction, asyncio.get_running_loop())
                await in_thread(self._handler, event, blocking)
