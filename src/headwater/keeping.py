"""Small things kept beside the log, on the same connection: snapshots and checkpoints, by name."""

from __future__ import annotations

from typing import Any

from headwater.backend import Backend, Checkpoint, Snapshot
from headwater.codecs import check_place, checked_name, encode_json
from headwater.errors import ForeignCheckpoint, TooLarge
from headwater.events import JSON
from headwater.limits import Limits

__all__ = ["Checkpoints", "Snapshots"]


class Snapshots:
    """Folded states kept beside the log, one per name. Losing them costs time, never facts."""

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self._backend = backend
        self._limits = limits

    async def save(
        self, name: str, version: int, state: Any, *, schema: str = "", content_type: str | None = None
    ) -> None:
        """Keep ``state`` (JSON-able, or bytes) as folded up to ``version``, instead of an earlier one of this name.

        ``schema`` names the shape of the state: bump it when your folding code changes.
        """
        checked_name("snapshot name", name, "stream_name_bytes_max", self._limits.stream_name_bytes_max)
        check_place("version", version)
        if isinstance(state, bytes):
            raw, kind = state, content_type or "application/octet-stream"
        else:
            raw, kind = encode_json(state, f"the snapshot {name!r}"), content_type or JSON
        most = self._limits.snapshot_bytes_max
        if len(raw) > most:
            raise TooLarge(f"the snapshot {name!r} (in bytes)", len(raw), "snapshot_bytes_max", most)
        await self._backend.save_snapshot(Snapshot(name, version, raw, kind, schema, 0))

    async def load(self, name: str, *, schema: str = "") -> Snapshot | None:
        """The latest snapshot of this name, or None where there is none of this ``schema``."""
        checked_name("snapshot name", name, "stream_name_bytes_max", self._limits.stream_name_bytes_max)
        snapshot = await self._backend.load_snapshot(name)
        return snapshot if snapshot and snapshot.schema == schema else None

    async def delete(self, name: str) -> None:
        """Forget the snapshot of this name, if there is one."""
        checked_name("snapshot name", name, "stream_name_bytes_max", self._limits.stream_name_bytes_max)
        await self._backend.delete_snapshot(name)


class Checkpoints:
    """How far each named consumer has come. A checkpoint carries its store's identity; a foreign one is refused."""

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self._backend = backend
        self._limits = limits

    async def save(self, name: str, checkpoint: Checkpoint | int) -> Checkpoint:
        """Keep how far the consumer ``name`` has come: a position of this store, or its checkpoint.

        Raises ``ForeignCheckpoint`` for a checkpoint of another store.
        """
        checked_name("checkpoint name", name, "stream_name_bytes_max", self._limits.stream_name_bytes_max)
        if isinstance(checkpoint, int):
            checkpoint = Checkpoint(self._backend.identity, checkpoint)
        check_place("the checkpoint's position", checkpoint.position)
        if checkpoint.store != self._backend.identity:
            raise ForeignCheckpoint(checkpoint, self._backend.identity)
        await self._backend.save_checkpoint(name, checkpoint.position)
        return checkpoint

    async def load(self, name: str) -> Checkpoint | None:
        """How far the consumer ``name`` has come, or None where it never said. Give it to ``read_all(after=…)``."""
        checked_name("checkpoint name", name, "stream_name_bytes_max", self._limits.stream_name_bytes_max)
        position = await self._backend.load_checkpoint(name)
        return None if position is None else Checkpoint(self._backend.identity, position)
