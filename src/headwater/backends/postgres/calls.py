"""The two calls that an append is made of: send it; and where it was refused, ask why."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence

from headwater.appending import Place, check_expected, first_result
from headwater.backend import Appended
from headwater.backends.postgres.connections import Connection, fetched
from headwater.backends.postgres.direct import ask
from headwater.backends.postgres.rows import array_of
from headwater.backends.postgres.statements import Statements
from headwater.backends.postgres.units import REFUSED, Numbers, Unit, many_parameters, one_parameters

__all__ = ["Ask", "asking", "explain", "send"]

Ask = Callable[[str, Sequence[bytes | None]], Awaitable[bytes | None]]
"""Runs a statement on some connection and gives its one value as text, as ``direct.ask`` does."""


def asking(connection: Connection) -> Ask:
    """Statements for a connection of the store's own."""
    return functools.partial(ask, connection)


async def send(
    ask: Ask, statements: Statements, units: Sequence[Unit], *, exclusive: bool, careful: bool = False
) -> list[Numbers]:
    """Send units of one kind in one call. Gives the server's two numbers per write, for each unit.

    Raises ``UniqueViolation`` where the id of a lone event is stored already; not so when ``careful``.
    """
    first = units[0]
    one = one_parameters(first, exclusive=exclusive) if len(units) == 1 and not careful else None
    if one is not None:
        value = await ask(statements["append_one"], one)
        return [_numbers(value) if value else REFUSED]
    name = "append_whole" if first.kind == "whole" else "append_many"
    exclusive = exclusive or first.kind == "conditional" or any(unit.conditions for unit in units)
    value = await ask(statements[name], many_parameters(units, exclusive=exclusive))
    assert value is not None
    numbers = _numbers(value)
    shares: list[Numbers] = []
    start = 0
    for unit in units:
        end = start + 2 * len(unit.writes)
        shares.append(numbers[start:end])
        start = end
    return shares


def _numbers(text: bytes) -> Numbers:
    """From PostgreSQL's text form of an array of numbers."""
    return [None if each == b"NULL" else int(each) for each in text[1:-1].split(b",")]


async def explain(connection: Connection, statements: Statements, unit: Unit) -> list[Appended] | None:
    """Why a unit was refused, or what came of it earlier: its first result where its ids are stored.

    None where nothing speaks against it (any more). Raises the refusal otherwise.
    """
    ids = "{" + ",".join([record.id.hex() for record in unit.records]) + "}"
    places = {row[0]: Place(*row[1:]) for row in await fetched(connection, statements["places"], (ids,))}
    if places:
        return first_result(unit.writes, places)
    names = [write.stream for write in unit.writes if write.stream is not None]
    heads = {
        row[0]: row[1:]
        for row in await fetched(
            connection, statements["heads"], (array_of([name.encode() for name in names]).decode(),)
        )
    }
    for write in unit.writes:
        if write.stream is not None:
            version, state = heads.get(write.stream, (0, "open"))
            check_expected(write.stream, write.expected, version, state)
    return None
