"""Small things kept beside the log, on the same connection: snapshots and checkpoints, by name."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from headwater.backend import Backend, Checkpoint, Sealer, Snapshot, sealer_of
from headwater.codecs import check_place, checked_name, encode_json
from headwater.errors import ForeignCheckpoint, NotSupported, TooLarge
from headwater.events import JSON
from headwater.limits import Limits

__all__ = ["SEALED", "Checkpoints", "Snapshots"]


PAGE = 20
"""Snapshots that are loaded at a time: each may be large."""

SEALED = "sealed; "
"""Before the content type of a snapshot whose bytes are sealed."""


class Snapshots:
    """Folded states kept beside the log, one per name. Losing them costs time, never facts."""

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self._backend = backend
        self._limits = limits

    async def save(
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

        ``schema`` names the shape of the state: bump it when your folding code changes. ``subjects`` are the people
        whose personal data the state holds: it is sealed under the keys of all of them, in a store with a vault, and
        once one of them is forgotten it is not found any more.
        """
        checked_name("snapshot name", name, "stream_name_bytes_max", self._limits.stream_name_bytes_max)
        check_place("version", version)
        if isinstance(state, bytes):
            raw, kind = state, content_type or "application/octet-stream"
        else:
            raw, kind = encode_json(state, f"the snapshot {name!r}"), content_type or JSON
        if subjects:
            raw, kind = await self._sealer().seal_state(name, raw, subjects), SEALED + kind
        most = self._limits.snapshot_bytes_max
        if len(raw) > most:
            raise TooLarge(f"the snapshot {name!r} (in bytes)", len(raw), "snapshot_bytes_max", most)
        await self._backend.save_snapshot(Snapshot(name, version, raw, kind, schema, 0))

    async def load(self, name: str, *, schema: str = "") -> Snapshot | None:
        """The latest snapshot of this name, or None where there is none of this ``schema``."""
        checked_name("snapshot name", name, "stream_name_bytes_max", self._limits.stream_name_bytes_max)
        snapshot = await self._backend.load_snapshot(name)
        if snapshot is None or snapshot.schema != schema:
            return None
        return await self._opened(snapshot) if snapshot.content_type.startswith(SEALED) else snapshot

    async def _opened(self, snapshot: Snapshot) -> Snapshot | None:
        opened = await self._sealer().open_state(snapshot.name, snapshot.raw_state)
        if opened is None:
            return None
        raw, subjects = opened
        kind = snapshot.content_type.removeprefix(SEALED)
        return msgspec.structs.replace(snapshot, raw_state=raw, content_type=kind, subjects=subjects)

    def _sealer(self) -> Sealer:
        sealer = sealer_of(self._backend)
        if sealer is None:
            raise NotSupported(
                "a store without a vault",
                "snapshots of personal data",
                'Open it with one: connect(url, vault="sqlite:///keys.db").',
            )
        return sealer

    async def all(self) -> AsyncGenerator[Snapshot, None]:
        """All snapshots in order of name, whatever their schema; sealed ones as they are stored."""
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                for snapshot in page:
                    yield snapshot

    async def _pages(self) -> AsyncGenerator[list[Snapshot], None]:
        after = ""
        while page := await self._backend.load_snapshots(after, PAGE):
            yield page
            after = page[-1].name

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
