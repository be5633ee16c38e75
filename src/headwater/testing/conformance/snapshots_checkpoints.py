"""Snapshots and checkpoints: what is saved is loaded, the last one counts, and a foreign checkpoint is refused."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from headwater.backend import Checkpoint
from headwater.errors import ForeignCheckpoint, InvalidEvent, InvalidQuery, TooLarge
from headwater.limits import Limits
from headwater.store import EventStore
from headwater.testing.conformance.fixtures import OpenStore, StorePromises, needs, whole_log
from headwater.testing.loans import CASE, loan


class SnapshotAndCheckpointPromises(StorePromises):
    """``store.snapshots`` and ``store.checkpoints``."""

    async def test_snapshot(self, store: EventStore) -> None:
        """A snapshot is loaded as it was saved, with its version and moment."""
        needs(store, "snapshots")
        state = {"status": "ACCEPTED", "offers": [1, 2], "rate": 7.25}
        await store.snapshots.save(CASE, 7, state)
        snapshot = await store.snapshots.load(CASE)
        assert snapshot is not None
        assert (snapshot.name, snapshot.version, snapshot.state) == (CASE, 7, state)
        assert abs(datetime.now(UTC).timestamp() - snapshot.saved_us / 1e6) < timedelta(minutes=5).total_seconds()

    async def test_snapshot_of_bytes(self, store: EventStore) -> None:
        """A snapshot of bytes is loaded bit for bit."""
        needs(store, "snapshots")
        await store.snapshots.save(CASE, 1, bytes(range(256)))
        snapshot = await store.snapshots.load(CASE)
        assert snapshot is not None
        assert (snapshot.state, snapshot.content_type) == (bytes(range(256)), "application/octet-stream")

    async def test_last_snapshot_counts(self, store: EventStore) -> None:
        """Saving again replaces the snapshot of that name, and no other."""
        needs(store, "snapshots")
        await store.snapshots.save(CASE, 7, "first")
        await store.snapshots.save("loan-2", 1, "other")
        await store.snapshots.save(CASE, 9, "second", schema="2")
        snapshot = await store.snapshots.load(CASE, schema="2")
        other = await store.snapshots.load("loan-2")
        assert snapshot is not None
        assert other is not None
        assert (snapshot.version, snapshot.state, other.state) == (9, "second", "other")

    async def test_snapshot_of_another_schema(self, store: EventStore) -> None:
        """A snapshot of another schema is not found: its shape is not what the reader folds."""
        needs(store, "snapshots")
        await store.snapshots.save(CASE, 7, {}, schema="1")
        assert await store.snapshots.load(CASE, schema="2") is None
        assert await store.snapshots.load(CASE) is None
        assert await store.snapshots.load(CASE, schema="1") is not None

    async def test_all_snapshots(self, store: EventStore) -> None:
        """All snapshots are listed by name, whatever their schema, over many pages."""
        needs(store, "snapshots")
        names = [f"loan-{number:03}" for number in range(45)]
        for name in reversed(names):
            await store.snapshots.save(name, 1, {"of": name}, schema=name[-1])
        found = [(each.name, each.state["of"]) async for each in store.snapshots.all()]
        assert found == [(name, name) for name in names]

    async def test_delete_snapshot(self, store: EventStore) -> None:
        """A deleted snapshot is gone; deleting none is no error; the events stay."""
        needs(store, "snapshots")
        await store.append(CASE, loan(2))
        await store.snapshots.save(CASE, 2, {})
        await store.snapshots.delete(CASE)
        await store.snapshots.delete(CASE)
        assert await store.snapshots.load(CASE) is None
        assert len(await whole_log(store)) == 2

    async def test_refused_snapshots(self, open_store: OpenStore) -> None:
        """A snapshot that can't be stored is refused before anything is sent."""
        async with open_store(Limits(snapshot_bytes_max=10)) as store:
            needs(store, "snapshots")
            with pytest.raises(TooLarge):
                await store.snapshots.save(CASE, 1, "0123456789")
            with pytest.raises(InvalidEvent):
                await store.snapshots.save(CASE, 1, float("nan"))
            with pytest.raises(InvalidEvent):
                await store.snapshots.save("", 1, {})
            with pytest.raises(InvalidQuery):
                await store.snapshots.save(CASE, -1, {})
            assert await store.snapshots.load(CASE) is None

    async def test_checkpoint(self, store: EventStore) -> None:
        """A checkpoint is loaded as it was saved, with the store's identity; an unknown name has none."""
        needs(store, "checkpoints")
        assert await store.checkpoints.load("offers") is None
        saved = await store.checkpoints.save("offers", 7)
        assert saved == Checkpoint(store.identity, 7)
        assert await store.checkpoints.load("offers") == saved
        assert await store.checkpoints.load("Offers") is None

    async def test_last_checkpoint_counts(self, store: EventStore) -> None:
        """Saving again replaces the checkpoint, forwards and, to replay, backwards."""
        needs(store, "checkpoints")
        for position in (5, 9, 0):
            await store.checkpoints.save("offers", Checkpoint(store.identity, position))
            assert await store.checkpoints.load("offers") == Checkpoint(store.identity, position)

    async def test_foreign_checkpoint(self, store: EventStore) -> None:
        """A checkpoint of another store is refused, with both identities at hand."""
        needs(store, "checkpoints")
        foreign = Checkpoint(str(uuid.uuid4()), 7)
        with pytest.raises(ForeignCheckpoint) as refused:
            await store.checkpoints.save("offers", foreign)
        assert (refused.value.checkpoint, refused.value.identity) == (foreign, store.identity)
        assert await store.checkpoints.load("offers") is None

    async def test_reading_on(self, store: EventStore) -> None:
        """A consumer that saves its checkpoint goes on where it stopped, without a gap and without a repeat."""
        needs(store, "checkpoints")
        await store.append(CASE, loan(10))
        seen = []
        for _ in range(4):
            start = await store.checkpoints.load("offers") or 0
            batch = await whole_log(store, after=start, limit=3)
            seen += [event.version for event in batch]
            await store.checkpoints.save("offers", batch[-1].position)
        assert seen == list(range(1, 11))

    async def test_kept_over_closing(self, open_store: OpenStore) -> None:
        """Snapshots and checkpoints are there when the store is opened again, by the same identity."""
        async with open_store() as first:
            needs(first, "durable", "snapshots", "checkpoints")
            await first.snapshots.save(CASE, 3, {"status": "ACCEPTED"})
            saved = await first.checkpoints.save("offers", 12)
        async with open_store() as second:
            snapshot = await second.snapshots.load(CASE)
            assert snapshot is not None
            assert snapshot.state == {"status": "ACCEPTED"}
            assert await second.checkpoints.load("offers") == saved
