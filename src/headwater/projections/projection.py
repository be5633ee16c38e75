"""What a user writes: a projection into tables, or a fold of events into a value."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable
from typing import Any, ClassVar, Generic, TypeVar

from headwater.events import Event
from headwater.projections.handling import Handlers, InvalidProjection
from headwater.projections.statements import declared_tables, tables_in
from headwater.projections.view import View
from headwater.queries import Query

__all__ = ["Fold", "Projection", "fold"]

S = TypeVar("S")

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Projection:
    """Events into the rows of SQL tables: a read model. Subclass it, and give it to a ``Projector``.

    Handlers are methods ``(self, event, view)`` marked with ``@handles``; they write by ``view``, in the transaction
    that also moves the projection's position, so each event has its effect exactly once. They must do nothing else
    (send no mail, call no service): they run again when a transaction is repeated, and for every event when the
    projection is built anew.

    A handler that raises stops the projection there: rows that lag are better than rows that are wrong.
    """

    name: ClassVar[str]
    """Of the projection: small letters, digits and ``_``."""
    version: ClassVar[int] = 1
    """Raise it when tables or handlers change; the new version is built beside the old one."""
    tables: ClassVar[str]
    """The script that makes the tables: ``create table {cases} (loan text primary key, …)``, and their indexes.

    ``{cases}`` is the table of this version (``cases_v1``); readers use ``cases``, a view of the version that serves.
    """
    query: ClassVar[Query | None] = None
    """Which events; None: those that have a handler."""
    partition_by: ClassVar[str] = "stream"
    """What may be handled side by side (``stream``, ``category``, ``tag:applicant``): the events of two keys must not
    write the same row."""

    def __init__(self) -> None:
        self.handlers = Handlers(self)
        check_projection(self)

    def apply(self, event: Event, view: View) -> None:
        """Hand the event to its handlers. Override it to do something before or after."""
        for handler in self.handlers.of(event):
            handler(event, view)


class Fold(Generic[S]):
    """Events into a value in memory, made when it is asked for: ``state = await fold(Balance(), store.read(…))``.

    Handlers are methods ``(self, event, state)`` marked with ``@handles``; they return the new state, or change the
    given one and return nothing. Events without a handler leave the state alone.
    """

    def __init__(self) -> None:
        self.handlers = Handlers(self)

    def initial(self) -> S:
        """The state before the first event."""
        raise NotImplementedError(f"{type(self).__name__} needs initial(), the state before the first event")

    def apply(self, event: Event, state: S) -> S:
        """The state after this event."""
        for handler in self.handlers.of(event):
            new = handler(event, state)
            state = state if new is None else new
        return state


async def fold(projection: Fold[S], events: AsyncIterable[Event], state: S | None = None) -> S:
    """Fold events into a value, from the fold's initial state or from ``state``."""
    current = projection.initial() if state is None else state
    async for event in events:
        current = projection.apply(event, current)
    return current


def check_projection(projection: Projection) -> None:
    """Refuse what can't be run: ``InvalidProjection``."""
    name: Any = getattr(projection, "name", None)
    version: Any = projection.version
    script: Any = getattr(projection, "tables", None)
    kind = type(projection).__name__
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidProjection(
            str(name), "its name can't be kept", f'Give {kind} name = "case_times": small letters, digits and _.'
        )
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InvalidProjection(name, f"its version is {version!r}", "Give 1, then 2, and so on.")
    if not isinstance(script, str) or not (made := declared_tables(script)):
        raise InvalidProjection(
            name, "it declares no table", f'Give {kind} tables = "create table {{cases}} (loan text primary key, …)".'
        )
    wrong = [each for each in made if not _NAME.fullmatch(each)] + sorted(tables_in(script) - set(made))
    if wrong:
        raise InvalidProjection(
            name,
            f"its tables name {{{wrong[0]}}}, which no `create table {{{wrong[0]}}}` makes as a name that can be kept",
            "Use small letters, digits and _, at most 40.",
        )
