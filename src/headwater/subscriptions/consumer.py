"""A durable consumer: a named reader of the log that keeps its place, alone or as a group of processes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import TracebackType
from typing import Self

from headwater.backend import Appended, Backend, Checkpoint, RecordChange
from headwater.codecs import check_place, check_query
from headwater.errors import ForeignCheckpoint, InvalidConsumer, NotCaughtUp, NotSupported, StaleRecord
from headwater.limits import Limits
from headwater.queries import Query
from headwater.reading import Reading
from headwater.subscriptions.consumers import Consumers
from headwater.subscriptions.delivery import Delivery
from headwater.subscriptions.inbox import noted_events
from headwater.subscriptions.member import Member
from headwater.subscriptions.partitions import PartitionBy, key_function, partitioning_name
from headwater.subscriptions.parts import restarted
from headwater.subscriptions.settings import BEGINNING, NOW, Every, OnFailure, Retry, Start
from headwater.subscriptions.sinks import Handler, Sink, sink_of
from headwater.subscriptions.states import (
    About,
    PartState,
    about_name,
    checked_consumer,
    encoded,
    part_name,
    written_query,
)
from headwater.waiting import sleep

__all__ = ["Consumer"]

PARTITIONS_MAX = 1_000
WAIT_SECONDS = (0.002, 0.05)
"""First and longest pause between looks at the progress of parts that other processes hold."""


class Consumer:
    """Hands every event of the log (or of a query) to a handler, at least once, in order, and keeps its place.

    Made by ``store.consumer(name, handler)``. ``await consumer.run()`` handles events until ``stop()``; or
    ``async with consumer:`` does so in the background. Run the same consumer in several processes, and they share its
    ``partitions``: events of one key keep their order, a member that dies is replaced within the time of a lease and a
    quarter, and whoever was taken for dead can't move the checkpoint any more.
    """

    def __init__(
        self,
        backend: Backend,
        limits: Limits,
        name: str,
        handler: Handler | Sink,
        *,
        query: Query | None = None,
        batch: int | None = None,
        start: Start | int | Checkpoint = BEGINNING,
        checkpoint: Every | None = None,
        partitions: int = 1,
        partition_by: PartitionBy = "stream",
        retry: Retry | None = None,
        on_failure: OnFailure = "park",
        lease: float = 10.0,
        kind: str = "consumer",
        rerun: bool = True,
    ) -> None:
        self.name = checked_consumer(name)
        if not backend.capabilities.records:
            raise NotSupported(backend.capabilities.backend, "durable consumers", "Use store.subscribe(after=…).")
        _check(name, partitions=partitions, batch=batch, lease=lease, on_failure=on_failure)
        if query is not None:
            check_query(query, limits)
        self._backend = backend
        self._limits = limits
        self._query = query
        self._start = start
        self._every = checkpoint or Every()
        self._partitions = partitions
        self._key_of = key_function(name, partition_by)
        self._lease = lease
        self._about = About(
            backend.identity, written_query(query), partitions, partitioning_name(partition_by), kind=kind
        )
        self._consumers = Consumers(backend)
        sink = sink_of(handler, batches=batch is not None)
        self._batch = batch
        self._sink = sink
        self._retry = retry or Retry()
        self._on_failure: OnFailure = on_failure
        self._rerun = rerun
        self._delivery: Delivery | None = None
        self._member: Member | None = None
        self._stopped = False
        self._failure: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Handle events until ``stop`` is called or the task is cancelled; then keep the last checkpoint.

        Raises ``InvalidConsumer`` where the consumer of this name is another one, ``ForeignCheckpoint`` where its
        checkpoint is not of this store as it is now, and, with ``on_failure="stop"``, the handler's own error.
        """
        if self._member is not None:
            raise InvalidConsumer(self.name, "runs already in this object", "Make another one with store.consumer.")
        self._stopped, self._failure = False, None
        try:
            await self._prepare()
            await self._run()
        except Exception as error:
            self._failure = error
            raise

    async def _run(self) -> None:
        self._delivery = Delivery(
            self._backend,
            self.name,
            self._sink,
            batch=self._batch,
            every=self._every,
            retry=self._retry,
            on_failure=self._on_failure,
            key_of=self._key_of,
            rerun=self._rerun,
        )
        self._member = Member(
            self._backend,
            self._limits,
            self.name,
            self._query,
            self._partitions,
            self._key_of,
            self._delivery,
            lease=self._lease,
            save_seconds=self._every.seconds,
        )
        if self._stopped:  # while the records were looked at
            self._member.stop()
        try:
            await self._member.run()
        finally:
            self._member = None

    def stop(self) -> None:
        """Let ``run`` end, once what is being handled is handled. From any thread, task or signal handler."""
        self._stopped = True
        if self._member is not None:
            self._member.stop()

    async def pause(self) -> None:
        """Handle nothing, in any process, until ``resume``. Here at once, elsewhere within a quarter of a lease."""
        await self._known()
        await self._consumers.pause(self.name)
        if self._delivery is not None:
            self._delivery.pause(paused=True)

    async def resume(self) -> None:
        """Go on after ``pause``."""
        await self._known()
        await self._consumers.resume(self.name)
        if self._delivery is not None:
            self._delivery.pause(paused=False)

    async def rewind(self, position: int | Checkpoint) -> None:
        """Go on behind this position, backwards or forwards, in every process: what comes after it is handled (again).

        Members notice when they keep their next checkpoint; what they handle until then may be handled again.
        """
        check_place("position", position.position if isinstance(position, Checkpoint) else position)
        await self._known()
        await self._consumers.rewind(self.name, await Reading(self._backend, self._limits).position_of(position))

    async def position(self) -> int:
        """The position up to which everything is handled, in all parts; in this process's parts, as of now."""
        here = self._member.parts if self._member is not None else {}
        states = await self._consumers.parts(self.name) if len(here) < self._partitions else {}
        positions = {number: state.progress.position for number, state in states.items()}
        positions |= {number: part.progress.position for number, part in here.items()}
        return min(positions.values(), default=0)

    async def wait_for(self, position: int | Appended | Checkpoint, timeout: float = 30.0) -> None:
        """Wait until everything up to this position is handled: after it, whoever appended reads his own writes.

        Raises ``NotCaughtUp`` after ``timeout`` seconds.
        """
        wanted = position if isinstance(position, int) else position.position
        deadline = time.monotonic() + timeout
        pause, most = WAIT_SECONDS
        while (reached := await self.position()) < wanted:
            if self._failure is not None:
                raise self._failure  # of ``run`` in this process: say why, instead of waiting
            if time.monotonic() >= deadline:
                raise NotCaughtUp(f"consumer {self.name!r}", wanted, reached, timeout)
            await sleep(pause)
            pause = min(pause * 1.2, most)

    async def __aenter__(self) -> Self:
        await self._prepare()  # here, so that a new consumer that starts now gets what is appended inside the block
        self._task = asyncio.create_task(self.run(), name=f"headwater consumer {self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        task, self._task = self._task, None
        await asyncio.sleep(0)  # it may not have begun
        if kind is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            return
        self.stop()
        await task

    async def _prepare(self) -> None:
        """Make the consumer's records where it is new; else see that it is the same one, of this very store."""
        present = await self._known()
        self._refuse_another(present)
        parts = await self._consumers.parts(self.name)
        head = await self._backend.head()
        for state in parts.values():
            checkpoint = Checkpoint(present.store, state.progress.position)
            if present.store != self._backend.identity:
                raise ForeignCheckpoint(checkpoint, self._backend.identity)
            if checkpoint.position > head:
                raise ForeignCheckpoint(checkpoint, self._backend.identity, head)

    async def _known(self) -> About:
        """What the consumer is; made where it is new."""
        present = await self._consumers.about(self.name)
        if present is None:
            await self._make()
            present = await self._consumers.about(self.name) or self._about
        return present

    async def _make(self) -> None:
        if isinstance(self._start, Start):
            position = await self._backend.head() if self._start is NOW else 0
        else:
            position = await Reading(self._backend, self._limits).position_of(self._start)
        free = encoded(PartState(restarted(position)))
        changes = [RecordChange(about_name(self.name), encoded(self._about), 0)]
        changes += [RecordChange(part_name(self.name, number), free, 0) for number in range(self._partitions)]
        # What a reactor of this name noted after it was dropped, before it saw that: this is another one.
        changes += [RecordChange(noted, None) for noted in await noted_events(self._backend, self.name)]
        with contextlib.suppress(StaleRecord):  # another member has just made it
            await self._backend.save_records(changes)

    def _refuse_another(self, present: About) -> None:
        for what, theirs, ours in (
            ("kind", present.kind, self._about.kind),
            ("partitions", present.partitions, self._about.partitions),
            ("partition_by", present.partition_by, self._about.partition_by),
            ("query", present.query, self._about.query),
        ):
            if theirs != ours:
                raise InvalidConsumer(
                    self.name,
                    f"was made with {what} {theirs!r}, not {ours!r}",
                    "Give it another name, or drop the old one first: headwater consumers drop.",
                )


def _check(name: str, *, partitions: int, batch: int | None, lease: float, on_failure: str) -> None:
    if not 1 <= partitions <= PARTITIONS_MAX:
        raise InvalidConsumer(name, f"has {partitions!r} partitions", f"Give a number from 1 to {PARTITIONS_MAX:,}.")
    if batch is not None and batch < 1:
        raise InvalidConsumer(name, f"has batches of {batch!r}", "Give a number from 1 up, or None for single events.")
    if not 0.1 <= lease <= 3_600:
        raise InvalidConsumer(name, f"has a lease of {lease!r} seconds", "Give a number from 0.1 to 3,600.")
    if on_failure not in ("park", "park_key", "stop"):
        raise InvalidConsumer(name, f"has on_failure={on_failure!r}", 'Give "park", "park_key" or "stop".')
