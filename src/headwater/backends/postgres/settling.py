"""Bringing one append to its end when the first call did not: refusals explained, failures resolved by the ids."""

from __future__ import annotations

import asyncio
import random
import uuid

import psycopg

from headwater.backend import Appended
from headwater.backends.postgres.calls import Calls, asking
from headwater.backends.postgres.connections import Connection, Connections
from headwater.backends.postgres.faults import Fault, fault_of, translated
from headwater.backends.postgres.rooms import Rooms
from headwater.backends.postgres.units import REFUSED, Numbers, Unit
from headwater.backends.postgres.url import Target
from headwater.errors import AppendConditionFailed, HeadwaterError, OutcomeUnknown, StoreUnavailable

__all__ = ["Settler"]

ATTEMPTS_MAX = 20
"""How often a unit is sent again when other transactions come in between."""


class Settler:
    """Works on one unit at a time, on connections of its own."""

    def __init__(self, connections: Connections, calls: Calls, target: Target, rooms: Rooms | None) -> None:
        self._connections = connections
        self._calls = calls
        self._target = target
        self._rooms = rooms

    async def refused(self, unit: Unit, numbers: Numbers) -> list[Appended]:
        """The server refused the unit: say why, or give what came of it earlier, or send it again."""
        while True:
            connection: Connection | None = None
            try:
                async with self._connections.lent() as connection:
                    results = await self._attempt(connection, unit, numbers)
                if results is not None:
                    return results
                numbers = REFUSED
                await self._rest(unit, "the store refuses the append and gives no reason")
            except psycopg.Error as error:
                await self._get_over(unit, error, lost=connection is not None and connection.closed)
            except StoreUnavailable as error:
                raise self._unreached(unit, error) from error

    async def failed(self, unit: Unit, error: psycopg.Error, *, lost: bool) -> list[Appended]:
        """The call that carried the unit alone failed: find out whether it was stored, else send it again."""
        await self._get_over(unit, error, lost=lost)
        return await self.refused(unit, REFUSED)

    async def failed_together(self, units: list[Unit], error: psycopg.Error, *, lost: bool) -> None:
        """The call that carried the units failed. Afterwards each can be treated as refused without a reason."""
        if fault_of(error, closed=lost) is Fault.LOST:
            for unit in units:
                unit.in_doubt = True
            await self._connections.mend()

    async def _attempt(self, connection: Connection, unit: Unit, numbers: Numbers) -> list[Appended] | None:
        """Explain the refusal that the numbers tell of; where nothing explains it, send. None: refused again."""
        results = await self._explained(connection, unit, numbers)
        if results is not None:
            return results
        (numbers,) = await self._calls.send(asking(connection), [unit])
        return unit.results(numbers) or await self._explained(connection, unit, numbers)

    async def _explained(self, connection: Connection, unit: Unit, numbers: Numbers) -> list[Appended] | None:
        results = await self._calls.explain(connection, unit)
        failed = unit.failed_condition(numbers)
        if results is None and failed is not None:
            raise AppendConditionFailed(*failed)
        return results

    async def _get_over(self, unit: Unit, error: psycopg.Error, *, lost: bool) -> None:
        """Get ready to try the unit again after its call failed. Raises our error where that is of no use."""
        match fault_of(error, closed=lost):
            case Fault.LOST:
                unit.in_doubt = True
                if asyncio.get_running_loop().time() > unit.deadline:
                    raise self._unknown(unit) from error
                await self._connections.mend()
            case Fault.RACE:
                await self._rest(unit, f"other transactions come in between again and again ({error.sqlstate})")
            case Fault.ROOM if self._rooms is not None:
                await self._rooms.make(unit.events)
                await self._rest(unit, "there is no partition for new events")
            case Fault.DATA if not unit.as_bytes:
                unit.as_bytes = True  # JSONB refused what `faithful` let pass
            case _:
                raise translated(error, self._target) from error

    async def _rest(self, unit: Unit, reason: str) -> None:
        """A random while before the next attempt, longer each time. Raises after too many."""
        unit.attempts += 1
        if unit.attempts > ATTEMPTS_MAX:
            raise StoreUnavailable(f"{self._target.shown}: {reason}", "Try again later. This append was not written.")
        await asyncio.sleep(random.uniform(0, 0.002 * 2 ** min(unit.attempts, 6)))

    def _unreached(self, unit: Unit, error: StoreUnavailable) -> HeadwaterError:
        """Where no connection can be had any more, a unit that was sent before has an unknown outcome."""
        return self._unknown(unit) if unit.in_doubt else error

    def _unknown(self, unit: Unit) -> OutcomeUnknown:
        ids = [uuid.UUID(bytes=record.id) for record in unit.records]
        return OutcomeUnknown(ids, f"{self._target.shown} went away during an append")
