"""Snapshots and checkpoints for code without asyncio."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from headwater import keeping as asynchronous
from headwater.backend import Checkpoint, Snapshot
from headwater.sync.driving import Caller

__all__ = ["Checkpoints", "Snapshots"]


class Snapshots:
    """Folded states kept beside the log, one per name. Losing them costs time, never facts."""

    def __init__(self, snapshots: asynchronous.Snapshots, caller: Caller) -> None:
        self._snapshots = snapshots
        self._caller = caller

    def save(
        self,
        name: str,
        version: int,
        state: Any,
        *,
        schema: str = "",
        content_type: str | None = None,
        subjects: Sequence[str] = (),
    ) -> None:
        """Keep ``state`` (JSON-able, or bytes) as folded up to ``version``, instead of an earlier one of this name.

        Arguments as of the asynchronous one.
        """
        self._caller.run(
            self._snapshots.save(name, version, state, schema=schema, content_type=content_type, subjects=subjects)
        )

    def load(self, name: str, *, schema: str = "") -> Snapshot | None:
        """The latest snapshot of this name, or None where there is none of this ``schema``."""
        return self._caller.run(self._snapshots.load(name, schema=schema))

    def all(self) -> Iterator[Snapshot]:
        """All snapshots in order of name, whatever their schema; sealed ones as they are stored."""
        return self._caller.each(self._snapshots._pages())

    def delete(self, name: str) -> None:
        """Forget the snapshot of this name, if there is one."""
        self._caller.run(self._snapshots.delete(name))


class Checkpoints:
    """How far each named consumer has come. A checkpoint carries its store's identity; a foreign one is refused."""

    def __init__(self, checkpoints: asynchronous.Checkpoints, caller: Caller) -> None:
        self._checkpoints = checkpoints
        self._caller = caller

    def save(self, name: str, checkpoint: Checkpoint | int) -> Checkpoint:
        """Keep how far the consumer ``name`` has come: a position of this store, or its checkpoint."""
        return self._caller.run(self._checkpoints.save(name, checkpoint))

    def load(self, name: str) -> Checkpoint | None:
        """How far the consumer ``name`` has come, or None where it never said. Give it to ``read_all(after=…)``."""
        return self._caller.run(self._checkpoints.load(name))
