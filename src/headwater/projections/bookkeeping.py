"""What a target keeps about a version of a projection: its positions, and whether it serves."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from functools import cache
from importlib.resources import files

import msgspec

from headwater.events import Event
from headwater.projections.targets import Connection, Target
from headwater.subscriptions.states import Progress, advanced

__all__ = ["Bookkeeping", "Part", "Version", "all_versions", "prepare_target", "versions_of"]


@cache
def _statements() -> dict[str, str]:
    text = (files(__package__) / "sql" / "bookkeeping.sql").read_text(encoding="utf-8")
    blocks = (block.partition("\n") for block in text.split("-- name: ")[1:])
    return {name.strip(): sql.strip() for name, _, sql in blocks}


def statement(name: str) -> str:
    """The statement of this name in ``bookkeeping.sql``."""
    return _statements()[name]


class Version(msgspec.Struct, frozen=True):
    """A version of a projection in a target."""

    name: str
    version: int
    serving: bool
    """Whether readers see its tables under their plain names."""
    parts: int
    """How many parts it is run in."""
    position: int
    """Everything up to here is in its tables."""
    count: int
    """Events handled."""
    store: str
    """Identity of the store that the events come from."""
    tables: tuple[str, ...]
    """The tables that it declares."""
    declared: str
    """The script that made them, and which events it sees."""


class Part(msgspec.Struct, frozen=True):
    """How far a part of a version has come."""

    part: int
    parts: int
    position: int
    last_id: str
    count: int
    digest: int
    inlined: int = 0
    """How many of the events looked at were handled in their append's transaction already."""

    def after(self, handled: Sequence[Event], last: Event) -> Part:
        """The part after these events were handled, and everything up to ``last`` is."""
        progress = advanced(Progress(self.position, 0, self.count, self.digest), handled)
        return msgspec.structs.replace(
            self, position=last.position, last_id=last.raw_id.hex(), count=progress.count, digest=progress.digest
        )


def prepare_target(target: Target) -> str:
    """Make what is kept about projections where it is missing. The target's id."""
    with target.transaction(alone=True) as connection:
        for name in ("make_target", "make_projections", "make_parts", "make_inlined"):
            connection.execute(statement(name))
        if not connection.rows(statement("target")):
            connection.execute(statement("save_target"), {"id": uuid.uuid4().hex})
        ((id,),) = connection.rows(statement("target"))
        return str(id)


def all_versions(target: Target) -> list[Version]:
    """Every version of every projection in a target, by name. Changes nothing."""
    with target.snapshot() as connection:
        columns, _ = target.columns(connection, "headwater_projections")
        names = connection.rows(statement("names")) if columns else []
        return [version for (name,) in names for version in versions_of(connection, name)]


def versions_of(connection: Connection, name: str) -> list[Version]:
    """The versions of a projection, in order."""
    return [
        Version(name, version, bool(serving), parts, position, int(count), store, tuple(made.split()), declared)
        for version, store, declared, made, serving, parts, position, count in connection.rows(
            statement("versions"), {"name": name}
        )
    ]


class Bookkeeping:
    """The rows about one version of a projection. Each call is part of the caller's transaction."""

    def __init__(self, name: str, version: int, row_lock: str) -> None:
        self.version = version
        self._this = {"name": name, "version": version}
        self._part = f"{statement('part')} {row_lock}"
        self._parts = f"{statement('parts')} {row_lock}"

    def add(self, connection: Connection, store: str, declared: str, made: Sequence[str]) -> None:
        """Begin the version: nothing handled, in one part, not serving."""
        facts = {"store": store, "declared": declared, "made": " ".join(made)}
        connection.execute(statement("add_version"), self._this | facts)
        self.deal(connection, 1, 0, "", 0, 0)

    def locked(self, connection: Connection, part: int, first: int = 0, last: int = 0) -> Part | None:
        """A part, which nobody else moves until the transaction ends; None where there is none of this number."""
        rows = connection.rows(self._part, self._this | {"part": part, "first": first, "last": last})
        if not rows:
            return None
        parts, position, last_id, count, digest, inlined = rows[0]
        return Part(part, parts, position, last_id, count, int(digest), inlined)

    def all_locked(self, connection: Connection) -> list[Part]:
        """All parts, in order; nobody else moves them until the transaction ends."""
        rows = connection.rows(self._parts, self._this)
        return [
            Part(part, len(rows), position, last_id, count, int(digest))
            for part, position, last_id, count, digest in rows
        ]

    def move(self, connection: Connection, part: Part) -> None:
        """Keep how far a part has come."""
        facts = {"part": part.part, "position": part.position, "last_id": part.last_id}
        connection.execute(
            statement("move_part"), self._this | facts | {"count": part.count, "digest": str(part.digest)}
        )

    def deal(self, connection: Connection, parts: int, position: int, last_id: str, count: int, digest: int) -> None:
        """Go on in so many parts, all from one position. What was handled before is the first part's."""
        connection.execute(statement("drop_parts"), self._this)
        for part in range(parts):
            facts = {"part": part, "parts": parts, "position": position, "last_id": last_id}
            account = {"count": 0 if part else count, "digest": "0" if part else str(digest)}
            connection.execute(statement("add_part"), self._this | facts | account)

    def serve(self, connection: Connection) -> None:
        """This version serves, no other one does."""
        connection.execute(statement("serve"), self._this)

    def drop(self, connection: Connection) -> None:
        """Forget the version."""
        self.take_inlined(connection, 0, 2**63 - 1)
        connection.execute(statement("drop_parts"), self._this)
        connection.execute(statement("drop_version"), self._this)

    def inlined(self, connection: Connection, first: int, last: int) -> set[int]:
        """Positions of events between these that were handled in their append's transaction."""
        rows = connection.rows(statement("inlined"), self._this | {"first": first, "last": last})
        return {position for (position,) in rows}

    def take_inlined(self, connection: Connection, first: int, last: int) -> None:
        """The runner has come past these: they need no mark any more."""
        connection.execute(statement("drop_inlined"), self._this | {"first": first, "last": last})

    def add_inlined(self, connection: Connection, positions: Collection[int]) -> None:
        """Mark events as handled in their append's transaction."""
        for position in positions:
            connection.execute(statement("add_inlined"), self._this | {"position": position})
