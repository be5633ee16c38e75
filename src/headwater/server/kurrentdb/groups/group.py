"""A group at work: it reads ahead, deals events to its consumers, takes their answers, and keeps its place.

An event is out of the group's hands once a consumer has acknowledged it, or it was skipped or parked. The place that is
kept is below the first event that is not. So whatever dies, an event comes again rather than not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections import deque
from contextlib import aclosing

import grpc

from headwater.errors import HeadwaterError, StoreUnavailable
from headwater.events import Event
from headwater.server.following import Following
from headwater.server.kurrentdb.groups.consumers import Consumer, Message, chosen
from headwater.server.kurrentdb.groups.described import Described
from headwater.server.kurrentdb.groups.lease import LEASE_SECONDS, Lease, Lost
from headwater.server.kurrentdb.groups.parking import Parking
from headwater.server.kurrentdb.recorded import link_id, original_id
from headwater.server.kurrentdb.refusals import Refused, case, refusal_of
from headwater.server.kurrentdb.virtual import virtual_of
from headwater.store import EventStore

__all__ = ["Group", "dropped"]

log = logging.getLogger("headwater.server")

TICK_SECONDS = 1.0
"""How often it looks for what was not answered in time, and whether its place is to be kept."""


RENEW_SECONDS = LEASE_SECONDS * 0.75
"""It renews its lease when less than this is left."""


class Group:
    """One group while it has consumers. Without any it is not in memory: its place is."""

    def __init__(self, store: EventStore, following: Following, described: Described, lease: Lease) -> None:
        self.described = described
        self.lost = False
        """Another server deals it by now, or it was changed: whoever comes begins anew."""
        self._lease = lease
        self.consumers: list[Consumer] = []
        self.retrying: deque[Message] = deque()
        self.waiting: deque[Message] = deque()
        self.parking = Parking(store, described)
        self.kept = 0
        """The position that is kept as its place."""
        self._store = store
        self._following = following
        self._virtual = virtual_of(described.source)
        self._open: dict[int, None] = {}  # positions of what is not out of hand, in order
        self._read_to = self._seen = 0
        self._begun = False
        self._handled = 0
        self._kept_at = time.monotonic()
        self._turn = 0
        self._room = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Go on from where the group was. ``Refused`` where another server deals it."""
        place = await self._lease.take()
        self._begun = place is not None
        self.kept = self._read_to = self._seen = place if place is not None else self.described.after
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._tick())]

    def connect(self, consumer: Consumer) -> None:
        """Take a consumer on. ``Refused`` where there are enough."""
        most = self.described.max_subscriber_count
        if most and len(self.consumers) >= most:
            facts = {"stream_name": self.described.source, "group_name": self.described.group}
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Maximum subscriptions reached for subscription group {self.described.group} on stream "
                f"{self.described.source}.",
                case("maximum-subscribers-reached", **facts),
            )
        self.consumers.append(consumer)
        self._deal()

    def disconnect(self, consumer: Consumer) -> None:
        """A consumer has gone: others get what it had, in the order in which it got it."""
        if consumer in self.consumers:
            self.consumers.remove(consumer)
            held = [message for message, _ in consumer.held.values()]
            consumer.held.clear()
            self.retrying.extendleft(reversed(held))
            self._deal()

    async def stop(self, reason: Exception | None = None) -> None:
        """Send the consumers away, and keep the place."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for consumer in self.consumers:
            consumer.outgoing.put_nowait(reason)
        with contextlib.suppress(HeadwaterError, Lost):  # the next start begins a little earlier
            await self._keep(release=True)

    @property
    def last_known(self) -> int:
        """The position of the last event that it has read."""
        return self._seen

    def id_of(self, event: Event) -> uuid.UUID:
        """The id by which a consumer answers for an event: the link's, where it gets one."""
        return original_id(event) if self._virtual is None else link_id(self._virtual.name, event)

    # What consumers answer

    def ack(self, consumer: Consumer, id: uuid.UUID) -> None:
        """It is handled; in time, or late but before anybody else got it."""
        held = consumer.held.pop(id, None)
        message = held[0] if held is not None else self._late(id)
        if message is not None:
            self._done(message)
            self._deal()

    def _late(self, id: uuid.UUID) -> Message | None:
        message = next((each for each in self.retrying if self.id_of(each.event) == id), None)
        if message is not None:
            self.retrying.remove(message)
        return message

    async def nack(self, consumer: Consumer, id: uuid.UUID, action: str, reason: str) -> None:
        """It is not: ``retry``, ``park`` or ``skip`` it."""
        held = consumer.held.pop(id, None)
        if held is None:
            return
        if action == "skip":
            self._done(held[0])
        elif action == "park":
            await self._park(held[0], reason or "Client explicitly NAK'ed message.")
        else:
            await self._retry(held[0], reason)
        self._deal()

    async def replay(self, upto: int | None) -> None:
        """Bring back what was parked, before anything new: all, or at most so many."""
        messages = await self.parking.taken(upto)
        self.retrying.extend(messages)
        self._deal()

    # Inside

    async def _read(self) -> None:
        """Read ahead for ever. Where that can't go on, the consumers are told, so that none waits in vain."""
        while True:
            try:
                await self._read_on()
            except StoreUnavailable as away:
                if not away.transient:
                    self._end(refusal_of(away))
                    return
                log.warning("group %s can't read just now: %s", self.described.key, away)
                await asyncio.sleep(TICK_SECONDS)
            except Exception as error:
                log.exception("group %s can't read on", self.described.key)
                self._end(error)
                return

    def _end(self, reason: Exception) -> None:
        for consumer in self.consumers:
            consumer.outgoing.put_nowait(reason)

    async def _read_on(self) -> None:
        wanted = self.described.wanted()
        most = max(self.described.live_buffer_size, self.described.history_buffer_size)
        async with aclosing(self._following.stretches(self._read_to, wanted.query)) as stretches:
            async for stretch in stretches:
                for event in stretch.events:
                    if event.position <= self._seen or not wanted.matches(event):
                        continue
                    while len(self.waiting) >= most:
                        self._room.clear()
                        await self._room.wait()
                    self._seen = event.position
                    self._open[event.position] = None
                    self.waiting.append(Message(event))
                    if len(self.waiting) == 1:
                        self._deal()
                self._read_to = stretch.upto
                self._deal()

    def _deal(self) -> None:
        """Give out what waits, retries first, as far as consumers have room. Nothing once the lease has run out."""
        if self._lease.left() <= 0:
            return
        for queue in (self.retrying, self.waiting):
            blocked: list[Message] = []
            while queue and any(each.free > 0 for each in self.consumers):
                message = queue.popleft()
                consumer = chosen(self.described.strategy, self.consumers, self._turn, message.event)
                if consumer is None:
                    blocked.append(message)
                else:
                    self._turn += 1
                    consumer.give(self.id_of(message.event), message)
            queue.extendleft(reversed(blocked))
        self._room.set()

    def _done(self, message: Message) -> None:
        if message.parked:
            self.parking.done(message.parked)
        else:
            self._open.pop(message.event.position, None)
        self._handled += 1

    async def _retry(self, message: Message, reason: str) -> None:
        message.retries += 1
        if message.retries > self.described.max_retry_count:
            await self._park(message, reason or "Reached maximum retry count.")
        else:
            self.retrying.append(message)

    async def _park(self, message: Message, reason: str) -> None:
        if self._lease.left() <= 0:
            self.retrying.append(message)  # whoever deals the group now may have parked it
            return
        try:
            await self.parking.park(message, reason)
        except HeadwaterError as error:  # it stays in hand, and comes again
            log.warning("group %s can't park an event just now: %s", self.described.key, error)
            self.retrying.append(message)
        else:
            self._done(message)

    async def _tick(self) -> None:
        timeout = self.described.message_timeout_ms / 1000
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                if timeout:
                    await self._time_out(time.monotonic() - timeout)
                await self.parking.settle()
                if self._is_due() or self._lease.left() < RENEW_SECONDS:
                    await self._keep()
                    self._deal()
            except Lost as lost:
                self.lost = True
                self._end(lost.refused or dropped(self.described))
                return
            except HeadwaterError as error:
                log.warning("group %s can't keep its place just now: %s", self.described.key, error)

    async def _time_out(self, before: float) -> None:
        late = []
        for consumer in self.consumers:
            while consumer.held:
                id, (message, sent) = next(iter(consumer.held.items()))
                if sent > before:
                    break
                del consumer.held[id]
                late.append(message)
        for message in late:
            await self._retry(message, "")
        if late:
            self._deal()

    def _is_due(self) -> bool:
        about = self.described
        waited = time.monotonic() - self._kept_at >= about.checkpoint_after_ms / 1000
        return (self._handled >= max(1, about.min_checkpoint_count) and waited) or (
            0 < about.max_checkpoint_count <= self._handled
        )

    async def _keep(self, *, release: bool = False) -> None:
        place = next(iter(self._open)) - 1 if self._open else self._read_to
        self._handled, self._kept_at = 0, time.monotonic()
        place = max(place, self.kept)
        begun = self._begun or place > self.kept  # until then, where it starts may be changed
        await self._lease.save(place if begun else None, release=release)
        self.kept, self._begun = place, begun


def dropped(group: Described) -> Refused:
    """What its consumers are told when it is changed or deleted."""
    trailers = case("persistent-subscription-dropped", stream_name=group.source, group_name=group.group)
    text = f"Subscription group {group.group} on stream {group.source} was dropped."
    return Refused(grpc.StatusCode.CANCELLED, text, trailers)
