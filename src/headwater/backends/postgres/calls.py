"""The two calls that an append is made of: send it; and where it was refused, ask why."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from headwater.appending import Place, check_expected, first_result
from headwater.backend import Appended, StreamState
from headwater.backends.postgres.connections import Connection, fetched
from headwater.backends.postgres.direct import ask
from headwater.backends.postgres.rows import array_of
from headwater.backends.postgres.statements import Statements
from headwater.backends.postgres.units import REFUSED, Numbers, Unit, many_parameters, one_parameters

__all__ = ["Ask", "Calls", "PostgresCalls", "asking", "first_or_refusal", "numbers_in", "shares_of"]

Ask = Callable[[str, Sequence[bytes | None]], Awaitable[bytes | None]]
"""Runs a statement on some connection and gives its one value as text, as ``direct.ask`` does."""


def asking(connection: Connection) -> Ask:
    """Statements for a connection of the store's own."""
    return functools.partial(ask, connection)


class Calls(Protocol):
    """How appends are sent to one layout of tables, and what it says of those that it refused."""

    async def send(self, ask: Ask, units: Sequence[Unit], *, careful: bool = False) -> list[Numbers]:
        """Send units of one kind in one call. Gives the server's two numbers per write, for each unit.

        Raises ``UniqueViolation`` where the id of a lone event is stored already; not so when ``careful``.
        """
        ...

    async def explain(self, connection: Connection, unit: Unit) -> list[Appended] | None:
        """Why a unit was refused, or what came of it earlier: its first result where its ids are stored.

        None where nothing speaks against it (any more). Raises the refusal otherwise.
        """
        ...


class PostgresCalls:
    """See ``Calls``. ``serialized``: one append at a time passes the gate."""

    def __init__(self, statements: Statements, *, serialized: bool) -> None:
        self._statements = statements
        self._serialized = serialized

    async def send(self, ask: Ask, units: Sequence[Unit], *, careful: bool = False) -> list[Numbers]:
        """See ``Calls.send``."""
        first = units[0]
        one = one_parameters(first, exclusive=self._serialized) if len(units) == 1 and not careful else None
        if one is not None:
            value = await ask(self._statements["append_one"], one)
            return [numbers_in(value) if value else REFUSED]
        name = "append_whole" if first.kind == "whole" else "append_many"
        exclusive = self._serialized or first.kind == "conditional" or any(unit.conditions for unit in units)
        value = await ask(self._statements[name], many_parameters(units, exclusive=exclusive))
        assert value is not None
        return shares_of(numbers_in(value), units)

    async def explain(self, connection: Connection, unit: Unit) -> list[Appended] | None:
        """See ``Calls.explain``."""
        ids = "{" + ",".join([record.id.hex() for record in unit.records]) + "}"
        places = await fetched(connection, self._statements["places"], (ids,))
        names = [write.stream.encode() for write in unit.writes if write.stream is not None]
        heads = await fetched(connection, self._statements["heads"], (array_of(names).decode(),))
        return first_or_refusal(unit, {row[0]: Place(*row[1:]) for row in places}, {row[0]: row[1:] for row in heads})


def first_or_refusal(
    unit: Unit, places: Mapping[bytes, Place], heads: Mapping[str, tuple[int, StreamState]]
) -> list[Appended] | None:
    """The unit's first result, where its ids have places; None where it fits the heads of its streams.

    Raises ``DuplicateEvent``, ``WrongExpectedVersion`` or ``StreamDeleted`` otherwise.
    """
    if places:
        return first_result(unit.writes, places)
    for write in unit.writes:
        if write.stream is not None:
            version, state = heads.get(write.stream, (0, "open"))
            check_expected(write.stream, write.expected, version, state)
    return None


def numbers_in(text: bytes) -> Numbers:
    """From PostgreSQL's text form of an array of numbers."""
    return [None if each == b"NULL" else int(each) for each in text[1:-1].split(b",")]


def shares_of(numbers: Numbers, units: Sequence[Unit]) -> list[Numbers]:
    """Each unit's numbers, of those that a call gave for all."""
    shares: list[Numbers] = []
    start = 0
    for unit in units:
        end = start + 2 * len(unit.writes)
        shares.append(numbers[start:end])
        start = end
    return shares
