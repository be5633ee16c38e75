"""One member of a consumer: it holds some of the parts by leases, feeds them from one reading of the log, and hands
parts over when others come, go or die."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from headwater.backend import Backend, Page, Record, RecordChange
from headwater.errors import Fenced, InvalidConsumer, StaleRecord, StoreUnavailable
from headwater.events import Event
from headwater.limits import Limits
from headwater.queries import Query
from headwater.subscriptions.delivery import Delivery
from headwater.subscriptions.feed import Feed
from headwater.subscriptions.parking import parked_pages
from headwater.subscriptions.partitions import KeyOf, part_of
from headwater.subscriptions.parts import Chunk, Part, Replay, Ticket
from headwater.subscriptions.states import (
    About,
    MemberState,
    PartState,
    about_name,
    decoded,
    encoded,
    member_name,
    part_name,
    prefix_of,
)

__all__ = ["Member"]

log = logging.getLogger("headwater.subscriptions")

PAGES_AHEAD = 2
"""Pages that may be on their way through the parts: the one that is handled, and the next."""
BURIED_LEASES = 10
"""A member that gave no sign of life for so many leases is forgotten."""
LOOKS_PER_LEASE = 4
"""A member looks at the others, and renews its leases, so often in the time of one."""

LEASE_KEPT = 0.8
"""Share of what is left of a lease that a member which leaves may use up."""
CANCEL_SECONDS = 1.0
"""After so long, what was told to end and did not is told again."""


class Member:
    """Runs a consumer's parts in this process, until it is told to stop."""

    def __init__(
        self,
        backend: Backend,
        limits: Limits,
        consumer: str,
        query: Query | None,
        partitions: int,
        key_of: KeyOf,
        delivery: Delivery,
        *,
        lease: float,
        save_seconds: float,
    ) -> None:
        self.id = uuid.uuid4().hex
        self.parts: dict[int, Part] = {}
        self._backend = backend
        self._limits = limits
        self._consumer = consumer
        self._query = query
        self._partitions = partitions
        self._key_of = key_of
        self._delivery = delivery
        self._lease = lease
        self._save_seconds = save_seconds
        self._room = asyncio.Semaphore(PAGES_AHEAD)
        self._feeding: asyncio.Task[None] | None = None
        self._unfed = False  # whether some part is not served by the present feed, which began further on
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._failure: asyncio.Future[None] = self._loop.create_future()

    def stop(self) -> None:
        """Finish what is being handled, then end ``run``. From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it this member
            self._loop.call_soon_threadsafe(self._stopping.set)

    async def run(self) -> None:
        """Hold parts and handle their events, until ``stop``, cancellation, or an error that can't be waited out."""
        tending = [asyncio.create_task(each, name=f"headwater consumer {self._consumer}") for each in self._tending()]
        for task in tending:
            task.add_done_callback(self._ended)
        stopped: asyncio.Future[Any] = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([stopped, self._failure], return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending: set[asyncio.Future[Any]] = {stopped, *tending}
            while ending:  # again where it was lost on the way, as by asyncio.wait_for up to Python 3.11
                for each in ending:
                    each.cancel()
                _, ending = await asyncio.wait(ending, timeout=CANCEL_SECONDS)
            await self._leave(patient=self._stopping.is_set())
        if self._failure.done():
            self._failure.result()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task of ours ended; by an error, unless it was cancelled."""
        if not task.cancelled() and (error := task.exception()) is not None and not self._failure.done():
            self._failure.set_exception(error)

    async def _leave(self, *, patient: bool) -> None:
        """Stop handling, keep the last checkpoints, and let the parts go.

        ``patient``: once what is being handled is handled, as long as the leases that nobody renews any more allow.
        """
        await self._stop_feeding()
        parts = list(self.parts.values())
        if patient:
            await asyncio.gather(*[part.settle(part.lease_left() * LEASE_KEPT) for part in parts])
        for part in parts:
            with contextlib.suppress(Fenced, StoreUnavailable):  # then the lease will run out by itself
                await self._release(part)
        with contextlib.suppress(StoreUnavailable):
            await self._backend.save_records([RecordChange(member_name(self._consumer, self.id), None)])

    def _tending(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on beside handling. Apart, for a part may take long to start, and other leases must not run out."""
        look_seconds = self._lease / LOOKS_PER_LEASE
        return [
            self._again(self._look, look_seconds),
            self._again(self._keep_all, min(self._save_seconds, look_seconds)),
        ]

    async def _again(self, work: Callable[[], Awaitable[None]], pause: float) -> None:
        while True:
            try:
                await work()
            except StoreUnavailable as error:
                if not error.transient:
                    raise
                log.warning("consumer %s: %s", self._consumer, error)
            await asyncio.sleep(pause)

    async def _keep_all(self) -> None:
        await asyncio.gather(*[self._keep(part) for part in list(self.parts.values())])

    async def _keep(self, part: Part) -> None:
        renew = part.lease_left() < self._lease * (1 - 1 / LOOKS_PER_LEASE)
        if part.changed or renew:
            try:
                await part.save()
            except Fenced:
                await self._drop(part)

    async def _look(self) -> None:
        """Say that we live; see who else does, what they hold, and what somebody asked for."""
        name = member_name(self._consumer, self.id)
        await self._backend.save_records([RecordChange(name, encoded(MemberState(socket.gethostname(), os.getpid())))])
        records = await self._records()
        about = decoded(records[about_name(self._consumer)], About)
        self._delivery.pause(paused=about.paused)
        await self._share(records)
        await self._replay()
        await self._bury(records)

    async def _records(self) -> dict[str, Record]:
        records = {each.name: each for each in await self._backend.load_records(prefix_of(self._consumer))}
        if about_name(self._consumer) not in records:
            raise InvalidConsumer(
                self._consumer, "was dropped while it ran", "Start it again where that was not meant."
            )
        return records

    async def _share(self, records: dict[str, Record]) -> None:
        """Take as many parts as are ours among the living, and let those go that are too many."""
        held = [(part_name(self._consumer, number), number) for number in range(self._partitions)]
        living = sorted({*self._living(records), self.id})  # not among them after a long sleep just now
        rank = living.index(self.id)
        fair = self._partitions // len(living) + (rank < self._partitions % len(living))
        for part in list(self.parts.values())[fair:]:
            if not await part.settle(self._lease / LOOKS_PER_LEASE):
                continue  # a slow handler: at the next look
            try:
                await self._release(part)
            except Fenced:
                await self._drop(part)
        random.shuffle(held)
        for name, number in held:
            if len(self.parts) >= fair:
                break
            if number not in self.parts:
                await self._claim(records[name], number)
        if self._unfed or self._feeding is None:
            await self._feed_anew()

    async def _bury(self, records: dict[str, Record]) -> None:
        """Forget members that died long ago."""
        long_us = BURIED_LEASES * self._lease * 1e6
        prefix = member_name(self._consumer, "")
        dead = [each for each in records.values() if each.name.startswith(prefix) and each.age_us > long_us]
        for record in dead:
            with contextlib.suppress(StaleRecord):  # it lives after all, or another member was faster
                await self._backend.save_records([RecordChange(record.name, None, record.revision)])

    def _living(self, records: dict[str, Record]) -> list[str]:
        prefix = member_name(self._consumer, "")
        return [
            name.removeprefix(prefix)
            for name, record in records.items()
            if name.startswith(prefix) and record.age_us < self._lease * 1e6
        ]

    async def _claim(self, record: Record, number: int) -> None:
        """Take a part that is free, or whose holder let its lease run out."""
        state = decoded(record, PartState)
        if state.owner not in ("", self.id) and record.age_us <= state.lease_us:
            return
        asked_at = time.monotonic()
        mine = msgspec.structs.replace(state, owner=self.id, lease_us=int(self._lease * 1e6))
        try:
            (revision,) = await self._backend.save_records([RecordChange(record.name, encoded(mine), record.revision)])
        except StaleRecord:  # somebody was faster
            return
        part = Part(self._backend, self._consumer, number, mine, revision, asked_at + self._lease)
        try:
            await self._delivery.start(part)
            if part.lease_left() < self._lease / 2:
                await part.save()  # starting took long
        except Fenced:  # too long
            return
        except BaseException:
            with contextlib.suppress(Fenced, StoreUnavailable):  # then its lease will run out by itself
                await part.save(release=True)
            raise
        self.parts[number] = part
        part.worker = asyncio.create_task(self._work(part), name=f"headwater consumer {self._consumer} part {number}")
        part.worker.add_done_callback(self._ended)
        self._unfed = True

    async def _release(self, part: Part) -> None:
        """Handle nothing more, keep the checkpoint, and let another member have the part."""
        await self._halt(part)
        await part.save(release=True)

    async def _drop(self, part: Part) -> None:
        """The part is somebody else's by now."""
        log.warning("consumer %s: part %d was taken over or rewound", self._consumer, part.number)
        await self._halt(part)

    async def _halt(self, part: Part) -> None:
        self.parts.pop(part.number, None)
        if part.worker is not None and part.worker is not asyncio.current_task():
            part.worker.cancel()
            await asyncio.wait({part.worker})
        part.forget_queue()

    async def _work(self, part: Part) -> None:
        """Do what comes into the part's queue, until the part is somebody else's."""
        try:
            while True:
                task = await part.queue.get()
                if isinstance(task, Replay):
                    part.replay_waits = False
                    await self._try_again(part, task)
                    continue
                try:
                    await self._delivery.deliver(part, task.events, task.upto)
                finally:
                    task.ticket.give_back()
        except Fenced:
            await self._drop(part)

    async def _try_again(self, part: Part, task: Replay) -> None:
        try:
            await self._delivery.replay(part, task.positions)
        except StoreUnavailable as error:  # asked for again at the next look
            if not error.transient:
                raise
            log.warning("consumer %s, part %d: %s", self._consumer, part.number, error)

    async def _replay(self) -> None:
        """Let parts try again what somebody asked for, and notice keys that are free again."""
        wanted: dict[int, list[int]] = {number: [] for number in self.parts if self._delivery.blocks(number)}
        waiting: set[str] = set()
        async for page in parked_pages(self._backend, self._consumer):
            for parked, _ in page:
                if parked.part in self.parts and self._delivery.replayable(parked, waiting):
                    wanted.setdefault(parked.part, []).append(parked.position)
        for number, positions in wanted.items():
            if (part := self.parts.get(number)) is not None and not part.replay_waits:
                part.queue.put_nowait(Replay(positions))
                part.replay_waits = True

    async def _feed_anew(self) -> None:
        """Read from where the part that is furthest behind was fed up to."""
        await self._stop_feeding()
        self._unfed = False
        if self.parts:
            self._feeding = asyncio.create_task(self._feed(), name=f"headwater consumer {self._consumer} feed")
            self._feeding.add_done_callback(self._ended)

    async def _stop_feeding(self) -> None:
        if self._feeding is not None:
            self._feeding.cancel()
            await asyncio.wait({self._feeding})
            self._feeding = None

    async def _feed(self) -> None:
        while True:
            after = min((part.fed for part in self.parts.values()), default=None)
            if after is None:
                return
            feed = Feed(self._backend, self._limits, self._query, after)
            try:
                while True:
                    page = await feed.page()
                    await self._room.acquire()
                    self._deal(page, after)
                    after = page.last
            except StoreUnavailable as error:
                if not error.transient:
                    raise
                log.warning("consumer %s: %s", self._consumer, error)
                await asyncio.sleep(1.0)
            finally:
                await feed.close()

    def _deal(self, page: Page, after: int) -> None:
        """Give each part its share of the page, which begins behind ``after``: a part that is not there yet, because
        it was taken while this feed was under way, gets nothing of it."""
        ticket = Ticket(self._room.release)
        ticket.take()  # our own, until all have theirs
        shares = self._shares(page.events)
        for number, part in self.parts.items():
            if after <= part.fed < page.last:
                share = shares.get(number, [])
                if share and share[0].position <= part.fed:
                    share = [event for event in share if event.position > part.fed]
                part.fed = page.last
                ticket.take()
                part.queue.put_nowait(Chunk(share, page.last, ticket))
        ticket.give_back()

    def _shares(self, events: list[Event]) -> dict[int, list[Event]]:
        if self._partitions == 1:
            return {0: events}
        shares: dict[int, list[Event]] = {}
        for event in events:
            shares.setdefault(part_of(self._key_of(event), self._partitions), []).append(event)
        return shares
