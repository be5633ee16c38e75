"""Appends: a waiting one is sent at once; those that come while calls are under way share the next call.

Two senders, so that while one waits for the disk the other fills its call. A refused unit costs its neighbours
nothing, for the server judges each by itself. A failed call is resolved unit by unit: the ids of its events tell
whether it was written after all.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Any

import psycopg

from headwater.appending import Place, check_expected, first_result
from headwater.backend import Appended, Write
from headwater.backends.postgres.connections import PATIENCE, Connection, Connections, fetched
from headwater.backends.postgres.faults import Fault, fault_of, translated
from headwater.backends.postgres.rooms import Rooms
from headwater.backends.postgres.rows import array_of
from headwater.backends.postgres.statements import Statements
from headwater.backends.postgres.units import Kind, Unit, many_parameters, one_parameters
from headwater.backends.postgres.url import Target
from headwater.errors import AppendConditionFailed, HeadwaterError, OutcomeUnknown, StoreUnavailable
from headwater.waiting import Signal

__all__ = ["GroupingAppender", "explain", "send"]

SENDERS = 2
UNITS_MAX = {"plain": 256, "conditional": 64, "whole": 1}
BYTES_MAX = 4_194_304
ATTEMPTS = 20
"""How often a unit is sent again when other transactions come in between."""


async def send(connection: Connection, statements: Statements, units: Sequence[Unit], *, exclusive: bool) -> list[Any]:
    """Send units of one kind in one call. Gives the server's two numbers per write, for each unit."""
    first = units[0]
    one = one_parameters(first, exclusive=exclusive) if len(units) == 1 else None
    if one is not None:
        rows = await fetched(connection, statements["append_one"], one)
        return [rows[0][0] or (None, None)]
    name = "append_whole" if first.kind == "whole" else "append_many"
    exclusive = exclusive or any(unit.conditions for unit in units)
    rows = await fetched(connection, statements[name], many_parameters(units, exclusive=exclusive))
    numbers = rows[0][0]
    shares = []
    for unit in units:
        width = 2 * len(unit.writes)
        shares.append(numbers[:width])
        numbers = numbers[width:]
    return shares


async def explain(connection: Connection, statements: Statements, unit: Unit) -> list[Appended] | None:
    """Why a unit was refused, or what came of it earlier: its first result where its ids are stored.

    None where nothing speaks against it (any more). Raises the refusal otherwise.
    """
    ids = "{" + ",".join([record.id.hex() for record in unit.records]) + "}"
    places = {row[0]: Place(*row[1:]) for row in await fetched(connection, statements["places"], (ids,))}
    if places:
        results = first_result(unit.writes, places)
        return [results[unit.order.index(index)] for index in range(len(results))]
    names = [write.stream for write in unit.writes if write.stream is not None]
    heads = {row[0]: row[1:] for row in await fetched(connection, statements["heads"], (array_of(names),))}
    for write in unit.writes:
        if write.stream is not None:
            version, state = heads.get(write.stream, (0, "open"))
            check_expected(write.stream, write.expected, version, state)
    return None


class GroupingAppender:
    """See ``headwater.backend.Appender``."""

    def __init__(
        self, connections: Connections, statements: Statements, target: Target, signal: Signal, rooms: Rooms | None
    ) -> None:
        self._connections = connections
        self._statements = statements
        self._target = target
        self._exclusive = target.ordering == "serialized"
        self._signal = signal
        self._rooms = rooms
        self._waiting: dict[Kind, deque[Unit]] = {"plain": deque(), "conditional": deque(), "whole": deque()}
        self._senders: set[asyncio.Task[None]] = set()
        self._closed = False

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        """See ``Appender.append``. An append whose task is cancelled may still be stored."""
        if self._closed:
            raise StoreUnavailable(f"{self._target.shown}: the store is closed", "Open it again.", transient=False)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Appended]] = loop.create_future()
        unit = Unit(writes, answer)
        unit.deadline = loop.time() + PATIENCE
        self._waiting[unit.kind].append(unit)
        if len(self._senders) < SENDERS:
            sender = loop.create_task(self._drain())
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        return await answer

    async def close(self) -> None:
        """Wait for the appends that were given already; take no more."""
        self._closed = True
        while self._senders:
            await asyncio.wait(self._senders)

    async def _drain(self) -> None:
        """Send groups until nothing waits."""
        connection: Connection | None = None
        try:
            while group := self._next_group():
                connection = await self._send_group(connection, group)
        finally:
            if connection is not None:
                await self._connections.give_back(connection)

    def _next_group(self) -> list[Unit]:
        """Units of the kind that has waited longest, by stream: calls lock the heads in one order."""
        queues = [queue for queue in self._waiting.values() if queue]
        if not queues:
            return []
        queue = min(queues, key=lambda each: each[0].deadline)
        group: list[Unit] = []
        size = 0
        while queue and len(group) < UNITS_MAX[queue[0].kind] and (not group or size + queue[0].size <= BYTES_MAX):
            unit = queue.popleft()
            if unit.answer is not None and not unit.answer.done():  # not cancelled while it waited
                group.append(unit)
                size += unit.size
        group.sort(key=lambda unit: unit.first_stream)
        return group or self._next_group()

    async def _send_group(self, connection: Connection | None, group: list[Unit]) -> Connection | None:
        """Send a group, answer each of its units. Gives the connection to go on with, if it is whole."""
        try:
            if connection is None:
                connection = await self._connections.take()
        except HeadwaterError as error:
            for unit in group:
                _refuse(unit, error)
            return None
        for unit in group:
            unit.sent = True
        try:
            shares = await send(connection, self._statements, group, exclusive=self._exclusive)
        except psycopg.Error as error:
            await self._connections.give_back(connection)
            await self._resolve_each(group, error, lost=connection.closed)
            return None
        unanswered = [(unit, share) for unit, share in zip(group, shares, strict=True) if not self._answer(unit, share)]
        self._signal.notify()
        if unanswered:
            await self._connections.give_back(connection)
            await asyncio.gather(*[self._settle(unit, share) for unit, share in unanswered])
            return None
        return connection

    def _answer(self, unit: Unit, share: Sequence[int | None]) -> bool:
        results = unit.results(share)
        if results is None:
            return False
        _accept(unit, results)
        if self._rooms is not None:
            self._rooms.reached(max(result.position for result in results))
        return True

    async def _resolve_each(self, group: list[Unit], error: psycopg.Error, *, lost: bool) -> None:
        """A call failed: try its units one by one, as one of them may be to blame."""
        for unit in group:
            try:
                await self._after_failure(unit, error, lost=lost, alone=len(group) == 1)
            except HeadwaterError as final:
                _refuse(unit, final)
            else:
                await self._settle(unit, (None, None))

    async def _settle(self, unit: Unit, share: Sequence[int | None]) -> None:
        """Bring one unit to its end, by itself: explain a refusal, or send it again, until it is answered."""
        while True:
            lost = False
            try:
                async with self._connections.lent() as connection:
                    try:
                        results = await self._attempt(connection, unit, share)
                    except psycopg.Error:
                        lost = connection.closed
                        raise
                if results is not None:
                    _accept(unit, results)
                    self._signal.notify()
                    return
                share = (None, None)
                await self._rest(unit, "the store refuses the append without a reason")
            except psycopg.Error as error:
                try:
                    await self._after_failure(unit, error, lost=lost, alone=True)
                except HeadwaterError as final:
                    _refuse(unit, final)
                    return
            except HeadwaterError as refusal:
                _refuse(unit, self._unreached(unit, refusal))
                return

    async def _attempt(self, connection: Connection, unit: Unit, share: Sequence[int | None]) -> list[Appended] | None:
        """Explain; else raise the condition that failed; else send. None: refused again, so there is a new reason."""
        explained = await explain(connection, self._statements, unit)
        if explained is not None:
            return explained
        failed = unit.failed_condition(share)
        if failed is not None:
            raise AppendConditionFailed(*failed)
        shares = await send(connection, self._statements, [unit], exclusive=self._exclusive)
        results = unit.results(shares[0])
        if results is None and (failed := unit.failed_condition(shares[0])):
            explained = await explain(connection, self._statements, unit)
            if explained is None:
                raise AppendConditionFailed(*failed)
            return explained
        return results

    async def _after_failure(self, unit: Unit, error: psycopg.Error, *, lost: bool, alone: bool) -> None:
        """Get ready to send the unit again after a failed call. Raises our error where that is of no use."""
        fault = fault_of(error, closed=lost)
        if fault is Fault.LOST:
            if asyncio.get_running_loop().time() > unit.deadline:
                raise OutcomeUnknown(_ids(unit), f"{self._target.shown} went away during an append") from error
            await self._connections.mend()
        elif fault is Fault.RACE:
            await self._rest(unit, f"other transactions come in between again and again ({error.sqlstate})")
        elif fault is Fault.ROOM and self._rooms is not None:
            await self._rooms.make()
        elif fault is Fault.DATA and not unit.as_bytes:
            unit.as_bytes = alone
        elif alone:
            raise translated(error, self._target) from error

    async def _rest(self, unit: Unit, reason: str) -> None:
        """A random while before the next attempt, longer each time. Raises after too many."""
        unit.attempts += 1
        if unit.attempts > ATTEMPTS:
            raise StoreUnavailable(f"{self._target.shown}: {reason}", "Try again later. This append was not written.")
        await asyncio.sleep(random.uniform(0, 0.002 * 2 ** min(unit.attempts, 6)))

    def _unreached(self, unit: Unit, error: HeadwaterError) -> HeadwaterError:
        """Where no connection can be had any more, a unit that was sent before has an unknown outcome."""
        if isinstance(error, StoreUnavailable) and unit.sent:
            return OutcomeUnknown(_ids(unit), f"{self._target.shown} went away during an append")
        return error


def _accept(unit: Unit, results: list[Appended]) -> None:
    if unit.answer is not None and not unit.answer.done():
        unit.answer.set_result(results)


def _refuse(unit: Unit, error: HeadwaterError) -> None:
    if unit.answer is not None and not unit.answer.done():
        unit.answer.set_exception(error)


def _ids(unit: Unit) -> list[uuid.UUID]:
    return [uuid.UUID(bytes=record.id) for record in unit.records]
