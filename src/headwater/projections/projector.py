"""Runs a projection: keeps its tables in step with the log, and lets others wait for that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from types import TracebackType
from typing import Any, Self

import msgspec

from headwater.backend import Appended, Checkpoint
from headwater.errors import ForeignCheckpoint, NotCaughtUp, NotSupported
from headwater.projections.bookkeeping import Bookkeeping, Part, Version, prepare_target, versions_of
from headwater.projections.building import Build, Building, deal_anew, settle
from headwater.projections.comparing import Comparison, compare
from headwater.projections.handling import InvalidProjection
from headwater.projections.inline import InlineAppender
from headwater.projections.projection import Projection, check_projection
from headwater.projections.sink import ProjectionSink
from headwater.projections.statements import declared_tables, filled, split
from headwater.projections.switching import consumer_name, drop_version, switch_to
from headwater.projections.targets import Connection, Target, open_target
from headwater.projections.view import Tables
from headwater.queries import Query
from headwater.store import BoundStore, EventStore
from headwater.subscriptions.consumer import Consumer
from headwater.subscriptions.partitions import key_function, part_of, partitioning_name
from headwater.subscriptions.settings import Retry
from headwater.subscriptions.states import written_query

__all__ = ["Projector"]

POLL_FIRST, POLL_MOST = 0.002, 0.05
"""Seconds between looks at a projection that another process runs: at first, and at most."""


class Projector:
    """A projection, the store that its events come from, and the database that its tables are in.

    Arguments:
        store: an open store.
        projection: what to run.
        into: URL of the database (``sqlite:///read.db``, ``postgresql://…?schema=name``), or a ``Target``.

    Its methods may be used in any process; as many as like may run the projection, each event has its effect once.
    Use it with ``async with``, or call ``close``.
    """

    def __init__(self, store: EventStore, projection: Projection, *, into: str | Target) -> None:
        check_projection(projection)
        self._store = store
        self._projection = projection
        self._target = open_target(into) if isinstance(into, str) else into
        self._tables = Tables(projection.name, projection.version, declared_tables(projection.tables))
        self._rows = Bookkeeping(projection.name, projection.version, self._target.row_lock)
        self._key = key_function(projection.name, projection.partition_by)
        self._target_id = ""
        self._preparing = asyncio.Lock()
        self._consumer: Consumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._moved = asyncio.Event()  # set when a part moves in this process
        self._empty_upto: dict[int, tuple[int, int]] = {}  # by part: behind this position, nothing up to that one

    @property
    def projection(self) -> Projection:
        """What is run."""
        return self._projection

    def _query(self) -> Query | None:
        given = self._projection.query
        return self._projection.handlers.query() if given is None else given

    def _sink(self, parts: int) -> ProjectionSink:
        return ProjectionSink(self._projection, self._tables, self._target, self._store, self._rows, parts, self._moved)

    async def prepare(self) -> None:
        """Make the version's tables where they are missing. The first version of a projection serves at once.

        Every other method does it first. Raises ``InvalidProjection`` where the tables of this version were made by
        another script, ``ForeignCheckpoint`` where they hold the events of another store, ``TargetFailed``.
        """
        async with self._preparing:
            if not self._target_id:
                target_id = await asyncio.to_thread(prepare_target, self._target)
                await asyncio.to_thread(self._make_version)
                self._target_id = target_id

    def _make_version(self) -> None:
        projection = self._projection
        with self._target.transaction(alone=True) as connection:
            versions = versions_of(connection, projection.name)
            present = next((each for each in versions if each.version == projection.version), None)
            if present is None:
                for part in split(filled(projection.tables, self._tables.real)):
                    connection.execute(part)
                self._rows.add(connection, self._store.identity, self._declared(), list(self._tables.real))
                if not any(each.serving for each in versions):
                    switch_to(connection, self._target, self._rows, self._tables.real, ())
            elif present.store != self._store.identity:
                raise ForeignCheckpoint(Checkpoint(present.store, present.position), self._store.identity)
            elif present.declared != self._declared():
                raise InvalidProjection(
                    projection.name,
                    f"version {projection.version} in {self._target.name} has other tables, or other types of events",
                    f"Give it version = {max(each.version for each in versions) + 1}, and build that beside this one.",
                )

    def _declared(self) -> str:
        """What a version can't change any more: its tables, and which events it sees in which order."""
        projection = self._projection
        facts = [written_query(self._query()), partitioning_name(projection.partition_by)]
        return f"{' '.join(projection.tables.split())} {msgspec.json.encode(facts).decode()}"

    async def run(
        self, *, partitions: int = 1, batch: int = 1000, retry: Retry | None = None, lease: float = 10.0
    ) -> None:
        """Keep the tables in step with the log until ``stop`` is called or the task is cancelled.

        Arguments:
            partitions: handle so many parts side by side; see ``Projection.partition_by``.
            batch: at most so many events in one transaction.
            retry: how an event whose handler failed is tried again.
            lease: seconds after which a runner that gives no sign of life is replaced.

        Where the handler still fails after the last attempt, the run ends with its error; the next one goes on there.
        """
        self._stopped = False
        await self.prepare()
        await self._deal(partitions)
        consumer = Consumer(
            self._store._backend,
            self._store.limits,
            consumer_name(self._projection.name, self._projection.version, self._target_id, partitions),
            self._sink(partitions),
            query=self._query(),
            batch=batch,
            partitions=partitions,
            partition_by=self._projection.partition_by,
            retry=retry or Retry(attempts=5),
            on_failure="stop",
            lease=lease,
            kind="projection",
        )
        if self._stopped:
            return
        self._consumer = consumer
        try:
            await consumer.run()
        finally:
            self._consumer = None

    @asynccontextmanager
    async def running(
        self, *, partitions: int = 1, batch: int = 1000, retry: Retry | None = None, lease: float = 10.0
    ) -> AsyncIterator[None]:
        """``async with projector.running():`` runs it in the background meanwhile. Its failure is raised at the end,
        and by ``wait_for``."""
        self._task = task = asyncio.create_task(
            self.run(partitions=partitions, batch=batch, retry=retry, lease=lease), name=self._projection.name
        )
        try:
            yield
        finally:
            self._task = None
            self.stop()
            await task

    def stop(self) -> None:
        """Let ``run`` end after what is under way."""
        self._stopped = True
        if self._consumer is not None:
            self._consumer.stop()

    async def _deal(self, partitions: int) -> None:
        """Have the version in so many parts, all at one position, where it is in another number of them."""
        if not isinstance(partitions, int) or partitions < 1:
            raise InvalidProjection(self._projection.name, f"partitions is {partitions!r}", "Give 1 or more.")
        parts = await self._parts()
        if len(parts) != partitions:
            if len({part.position for part in parts}) > 1:
                await self.catch_up()
            await asyncio.to_thread(deal_anew, self._target, self._rows, self._projection.name, partitions)

    async def catch_up(
        self, *, upto: int | None = None, batch: int = 1000, on_progress: Callable[[Building], None] | None = None
    ) -> int:
        """Handle all events up to a position (default: the store's head), then return it."""
        head = await self._store.head()
        upto = head if upto is None else min(upto, head)
        parts = len(await self._parts())
        build = Build(self._store, self._sink(parts), parts, self._part_of, self._query(), batch)
        await build.run(upto, on_progress)
        last = [
            event async for event in self._store.read_all(after=max(upto - 1, 0), limit=1) if event.position == upto
        ]
        last_id = last[0].raw_id.hex() if last else ""
        await asyncio.to_thread(settle, self._target, self._rows, upto, last_id)
        return upto

    def _part_of(self, event: Any, parts: int) -> int:
        return 0 if parts == 1 else part_of(self._key(event), parts)

    async def rebuild(
        self,
        *,
        partitions: int = 1,
        batch: int = 1000,
        fresh: bool = False,
        on_progress: Callable[[Building], None] | None = None,
    ) -> int:
        """Build this version beside the one that serves, up to the store's head; the position it came to.

        A build that was interrupted goes on where it was. Afterwards ``compare``, then ``switch``; ``run`` keeps it in
        step meanwhile.

        Arguments:
            partitions: so many parts side by side; each has its own connection on PostgreSQL.
            batch: events in one transaction.
            fresh: drop what there is of this version, and begin at the first event.
            on_progress: called now and then, with how far it is and how long it will take.

        Raises ``InvalidProjection`` where this version serves already.
        """
        await self.prepare()
        versions = await self.versions()
        if len(versions) > 1 or fresh:
            self._refuse_serving(versions)
        if fresh:
            await self.drop()
            await self.prepare()
        await self._deal(partitions)
        return await self.catch_up(batch=batch, on_progress=on_progress)

    def _refuse_serving(self, versions: list[Version]) -> None:
        if any(each.serving and each.version == self._projection.version for each in versions):
            raise InvalidProjection(
                self._projection.name,
                f"version {self._projection.version} serves, so it can't be rebuilt",
                f"Give the class version = {versions[-1].version + 1}: it is built beside this one, then switched to.",
            )

    async def compare(self, *, examples: int = 20) -> Comparison:
        """This version's rows beside those of the version that serves, by primary key.

        Both are read in one snapshot; memory holds ``examples`` differing rows a table. Raises ``InvalidProjection``
        where there is nothing to compare, or a table has no primary key.
        """
        await self.prepare()
        return await asyncio.to_thread(compare, self._target, self._projection.name, self._projection.version, examples)

    async def switch(self, *, force: bool = False) -> int:
        """Let readers see this version, in one transaction; the number of the version that served until now.

        First brings it up to the one that serves. ``NotCaughtUp`` where that one moves on faster; ``force`` switches
        all the same. The other version's tables stay: ``switch`` of its class goes back. Without a runner, it lags.
        """
        await self.prepare()
        for _ in range(1 if force else 10):
            if not force:
                await self.catch_up()
            done = await asyncio.to_thread(self._switch, force)
            if done is not None:
                return done
        mine, other = [await self.position(), max(each.position for each in await self.versions())]
        raise NotCaughtUp(f"{self._projection.name} version {self._projection.version}", other, mine, 0.0)

    def _switch(self, force: bool) -> int | None:
        projection = self._projection
        with self._target.transaction(alone=True) as connection:
            versions = versions_of(connection, projection.name)
            served = next(each for each in versions if each.serving)
            if served.version == projection.version:
                return served.version
            if not force and self._lags(connection, served):
                return None
            switch_to(connection, self._target, self._rows, self._tables.real, served.tables)
            return served.version

    def _lags(self, connection: Connection, served: Version) -> bool:
        """Whether this version is behind. Neither moves until the transaction ends."""
        other = Bookkeeping(served.name, served.version, self._target.row_lock)
        positions = {
            rows.version: min(part.position for part in rows.all_locked(connection))
            for rows in sorted((self._rows, other), key=lambda rows: rows.version)  # in one order, against deadlocks
        }
        return positions[self._rows.version] < positions[other.version]

    async def drop(self) -> None:
        """Remove this version's tables. ``InvalidProjection`` where it serves."""
        await self.prepare()
        await drop_version(self._store, self._target, self._projection.name, self._projection.version)
        self._target_id = ""

    async def versions(self) -> list[Version]:
        """The versions of this projection that the target holds, in order."""
        await self.prepare()
        return await asyncio.to_thread(self._versions)

    def _versions(self) -> list[Version]:
        with self._target.snapshot() as connection:
            return versions_of(connection, self._projection.name)

    async def position(self) -> int:
        """The position up to which everything is in the tables: that of the part that is the least far."""
        return min(part.position for part in await self._parts())

    async def _parts(self) -> list[Part]:
        await self.prepare()
        return await asyncio.to_thread(self._load_parts)

    def _load_parts(self) -> list[Part]:
        with self._target.snapshot() as connection:
            return Bookkeeping(self._projection.name, self._projection.version, "").all_locked(connection)

    async def wait_for(self, appended: Appended | int, timeout: float = 5.0) -> None:
        """Wait until the tables show an append (or everything up to a position): read your own writes.

        The projection may be run by any process. Raises ``NotCaughtUp`` after ``timeout`` seconds.
        """
        wanted = appended if isinstance(appended, int) else appended.position
        deadline = monotonic() + timeout
        pause = POLL_FIRST
        while not await self._shows(wanted):
            if self._task is not None and self._task.done():
                self._task.result()  # it failed: say why, instead of waiting
            left = deadline - monotonic()
            if left <= 0:
                raise NotCaughtUp(
                    f"{self._projection.name} version {self._projection.version}",
                    wanted,
                    await self.position(),
                    timeout,
                )
            self._moved.clear()
            try:
                await asyncio.wait_for(self._moved.wait(), min(pause, left))
            except TimeoutError:
                pause = min(pause * 1.5, POLL_MOST)

    async def _shows(self, wanted: int) -> bool:
        """Whether no event up to ``wanted`` is still to be handled. A position stays behind where none came for it."""
        parts = await self._parts()
        upto = [self._upto(part) for part in parts]
        if min(upto) >= wanted:
            return True
        if await self._store.head() < wanted:
            return False
        async for event in self._store.read_all(after=min(upto), before=wanted + 1, query=self._query()):
            if event.position > upto[self._part_of(event, len(parts))]:
                return False
        self._empty_upto = {part.part: (part.position, wanted) for part in parts}
        return True

    def _upto(self, part: Part) -> int:
        """Up to where nothing of the part is still to be handled, as far as we have looked."""
        position, upto = self._empty_upto.get(part.part, (0, 0))
        return max(part.position, upto if part.position >= position else 0)  # lower: the target was restored

    def inline(self, connection: Any) -> BoundStore:
        """A store that appends in the open transaction of ``connection`` and applies the handlers there too.

        For PostgreSQL, where store and target are one database; ``NotSupported`` elsewhere. Let a runner go on beside
        it: it handles what others append, and skips what was handled so. An append raises ``NotCaughtUp`` where an
        earlier event of its stream still waits for the runner.
        """
        borrowed = getattr(self._target, "borrowed", None)
        if not self._store.capabilities.caller_transaction or borrowed is None:
            raise NotSupported(
                f"the {self._store.capabilities.backend} backend" if borrowed else f"the target {self._target.name}",
                "projections in the transaction of an append",
                "Use run(), and wait_for(appended) to read what you wrote.",
            )
        appender = InlineAppender(
            self._store._backend.bind(connection),  # type: ignore[arg-type]  # reads too, where there is such a thing
            borrowed(connection),
            self._target.path,  # type: ignore[attr-defined]  # has one, as it can borrow
            self._prepared,
            self._projection,
            self._query(),
            self._part_of,
            self._tables,
        )
        return BoundStore(appender, self._store.limits)

    async def _prepared(self) -> str:
        await self.prepare()
        return self._target_id

    async def close(self) -> None:
        """Let go of the target's connections. A second call does nothing."""
        await asyncio.to_thread(self._target.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
