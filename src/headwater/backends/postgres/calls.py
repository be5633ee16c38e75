"""The two calls that an append is made of: send it; and where it was refused, ask why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headwater.appending import Place, check_expected, first_result
from headwater.backend import Appended
from headwater.backends.postgres.connections import Connection, fetched
from headwater.backends.postgres.rows import array_of
from headwater.backends.postgres.statements import Statements
from headwater.backends.postgres.units import Numbers, Unit, many_parameters, one_parameters

__all__ = ["explain", "send", "send_one"]


async def send_one(connection: Connection, statements: Statements, parameters: tuple[Any, ...]) -> Numbers:
    """Send a unit that ``one_parameters`` found simple enough. Raises ``UniqueViolation`` where its id is stored."""
    rows = await fetched(connection, statements["append_one"], parameters)
    return rows[0][0] or (None, None)


async def send(
    connection: Connection, statements: Statements, units: Sequence[Unit], *, exclusive: bool
) -> list[Numbers]:
    """Send units of one kind in one call. Gives the server's two numbers per write, for each unit."""
    one = one_parameters(units[0], exclusive=exclusive) if len(units) == 1 else None
    if one is not None:
        return [await send_one(connection, statements, one)]
    return await send_many(connection, statements, units, exclusive=exclusive)


async def send_many(
    connection: Connection, statements: Statements, units: Sequence[Unit], *, exclusive: bool
) -> list[Numbers]:
    """As ``send``, by the functions that look for stored ids first: no id that is stored already is an error there."""
    name = "append_whole" if units[0].kind == "whole" else "append_many"
    exclusive = exclusive or any(unit.conditions for unit in units)
    rows = await fetched(connection, statements[name], many_parameters(units, exclusive=exclusive))
    numbers: list[int | None] = rows[0][0]
    shares: list[Numbers] = []
    start = 0
    for unit in units:
        end = start + 2 * len(unit.writes)
        shares.append(numbers[start:end])
        start = end
    return shares


async def explain(connection: Connection, statements: Statements, unit: Unit) -> list[Appended] | None:
    """Why a unit was refused, or what came of it earlier: its first result where its ids are stored.

    None where nothing speaks against it (any more). Raises the refusal otherwise.
    """
    ids = "{" + ",".join([record.id.hex() for record in unit.records]) + "}"
    places = {row[0]: Place(*row[1:]) for row in await fetched(connection, statements["places"], (ids,))}
    if places:
        return first_result(unit.writes, places)
    names = [write.stream for write in unit.writes if write.stream is not None]
    heads = {row[0]: row[1:] for row in await fetched(connection, statements["heads"], (array_of(names),))}
    for write in unit.writes:
        if write.stream is not None:
            version, state = heads.get(write.stream, (0, "open"))
            check_expected(write.stream, write.expected, version, state)
    return None
