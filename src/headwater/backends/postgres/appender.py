"""Appends: a lone one is sent at once; those that come while calls are under way share the next call.

One call is under way at a time, two where many wait or the first takes long. A refused unit costs its
neighbours nothing, for the server judges each by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Sequence

import psycopg

from headwater.backend import Appended, Write
from headwater.backends.postgres.calls import Calls, asking
from headwater.backends.postgres.connections import PATIENCE, Connection, Connections
from headwater.backends.postgres.rooms import Rooms
from headwater.backends.postgres.settling import Settler
from headwater.backends.postgres.units import REFUSED, Kind, Unit
from headwater.backends.postgres.url import Target
from headwater.backends.postgres.wakeup import Wakeup
from headwater.errors import HeadwaterError, StoreUnavailable

__all__ = ["GroupingAppender"]

CALLS_MAX = 2
"""Calls under way at a time."""
CROWD = 128
"""A second call beside the first is worth its small groups only for so many waiting units: measured with 32 writers,
one call at a time is a tenth faster, and both sides work a quarter less."""
SECOND_CALL_SECONDS = 0.005
"""… or when the first call takes this long: it may be waiting for a lock that the others do not need."""
UNITS_MAX: dict[Kind, int] = {"plain": 256, "conditional": 64, "whole": 1}
BYTES_MAX = 4_194_304


class GroupingAppender:
    """See ``headwater.backend.Appender``. Keeps the connections that it sends by."""

    def __init__(
        self, connections: Connections, calls: Calls, target: Target, wakeup: Wakeup, rooms: Rooms | None = None
    ) -> None:
        self._connections = connections
        self._calls = calls
        self._target = target
        self._wakeup = wakeup
        self._rooms = rooms
        self._settler = Settler(connections, calls, target, rooms)
        self._waiting: dict[Kind, deque[Unit]] = {"plain": deque(), "conditional": deque(), "whole": deque()}
        self._calls_max = min(CALLS_MAX, target.pool - 1)  # readers and settlers need one
        self._underway = 0  # calls under way, or just about to be
        self._answered = 0  # calls that came back
        self._alarm: asyncio.TimerHandle | None = None
        self._kept: list[Connection] = []
        self._quiet = asyncio.Event()  # set when the last call ends
        self._senders: set[asyncio.Task[None]] = set()  # so that the loop does not lose them
        self._closed = False

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        """See ``Appender.append``. An append whose task is cancelled may still be stored."""
        if self._closed:
            raise StoreUnavailable(f"{self._target.shown}: the store is closed", "Open it again.", transient=False)
        loop = asyncio.get_running_loop()
        unit = Unit(writes, loop.time() + PATIENCE)
        if not self._underway and self._kept and not any(self._waiting.values()):
            return await self._append_alone(unit)
        unit.answer = loop.create_future()
        self._waiting[unit.kind].append(unit)
        self._start_senders()
        return await unit.answer

    async def close(self) -> None:
        """Wait for the appends that were given already; take no more."""
        self._closed = True
        while self._underway:
            self._quiet.clear()
            await self._quiet.wait()
        while self._kept:
            await self._connections.give_back(self._kept.pop())

    def _start_senders(self) -> None:
        """Let what waits be sent: by one call; by two where there is a crowd, or nothing came back for a while."""
        waiting = self._crowd()
        if waiting and (not self._underway or (waiting >= CROWD and self._underway < self._calls_max)):
            self._start_sender()
        elif waiting and self._alarm is None and self._underway < self._calls_max:
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_later(SECOND_CALL_SECONDS, self._start_another, self._answered)

    def _crowd(self) -> int:
        return sum(map(len, self._waiting.values()))

    def _start_another(self, answered: int) -> None:
        """Nothing has come back since the alarm was set: what waits need not wait for that."""
        self._alarm = None
        if answered == self._answered and self._crowd() and self._underway < self._calls_max:
            self._start_sender()

    def _start_sender(self) -> None:
        self._underway += 1
        sender = asyncio.get_running_loop().create_task(self._drain())
        self._senders.add(sender)
        sender.add_done_callback(self._senders.discard)

    def _end_call(self) -> None:
        self._underway -= 1
        self._answered += 1
        self._start_senders()
        if not self._underway:
            self._quiet.set()

    async def _append_alone(self, unit: Unit) -> list[Appended]:
        """Nothing waits and a connection is at hand: send from the caller's own task, which saves two switches."""
        self._underway += 1
        connection = self._kept.pop()
        try:
            try:
                (numbers,) = await self._calls.send(asking(connection), [unit])
            finally:
                await self._keep(connection)
            results = unit.results(numbers) or await self._settler.refused(unit, numbers)
        except psycopg.Error as error:
            results = await self._settler.failed(unit, error, lost=connection.closed)
        finally:
            self._end_call()
        self._stored(results[-1].position)
        return results

    async def _drain(self) -> None:
        """Send groups until nothing waits."""
        try:
            while group := self._next_group():
                await self._send_group(group)
                self._answered += 1
                if self._underway > 1 and self._crowd() < CROWD:
                    break  # the other call is enough again
        finally:
            self._end_call()

    def _next_group(self) -> list[Unit]:
        """Units of the kind that has waited longest, in order of stream: all calls lock the heads in one order."""
        group: list[Unit] = []
        size = 0
        while not group and any(self._waiting.values()):
            queue = min((queue for queue in self._waiting.values() if queue), key=lambda each: each[0].deadline)
            most = UNITS_MAX[queue[0].kind]
            while queue and len(group) < most and (not group or size + queue[0].size <= BYTES_MAX):
                unit = queue.popleft()
                if not unit.abandoned:
                    group.append(unit)
                    size += unit.size
        group.sort(key=lambda unit: unit.first_stream)
        return group

    async def _send_group(self, group: list[Unit]) -> None:
        """Send a group and answer each of its units."""
        try:
            connection = self._kept.pop() if self._kept else await self._connections.take()
        except HeadwaterError as error:
            for unit in group:
                unit.refuse(error)
            return
        try:
            shares = await self._calls.send(asking(connection), group)
        except psycopg.Error as error:
            await self._settle(group, error, lost=connection.closed)
            return
        except BaseException as error:  # a mistake of ours, or the loop ends: nobody may wait for ever
            for unit in group:
                unit.refuse(error)
            raise
        finally:
            await self._keep(connection)
        last = 0
        refused = []
        for unit, numbers in zip(group, shares, strict=True):
            results = unit.results(numbers)
            if results is None:
                refused.append((unit, numbers))
            else:
                unit.accept(results)
                last = max(last, results[-1].position)
        self._stored(last)
        for unit, numbers in refused:
            await self._answer(unit, self._settler.refused(unit, numbers))

    async def _settle(self, group: list[Unit], error: psycopg.Error, *, lost: bool) -> None:
        """A group's call failed. One of its units may be to blame, so each is tried by itself."""
        if len(group) == 1:
            await self._answer(group[0], self._settler.failed(group[0], error, lost=lost))
            return
        await self._settler.failed_together(group, error, lost=lost)
        for unit in group:
            await self._answer(unit, self._settler.refused(unit, REFUSED))

    async def _answer(self, unit: Unit, settling: Awaitable[list[Appended]]) -> None:
        try:
            results = await settling
        except Exception as error:
            unit.refuse(error)
        else:
            unit.accept(results)
            self._stored(results[-1].position)

    def _stored(self, position: int) -> None:
        """Events were stored, up to about this position."""
        self._wakeup.stored()
        if self._rooms is not None:
            self._rooms.reached(position)

    async def _keep(self, connection: Connection) -> None:
        """Keep the connection for the next call; the pool sees to one that is broken or in the middle of something."""
        if connection.closed or self._closed or connection.info.transaction_status != IDLE:
            await self._connections.give_back(connection)
        else:
            self._kept.append(connection)


IDLE = psycopg.pq.TransactionStatus.IDLE
