"""Records beside the log: compare-and-swap, all or none, revisions that never come twice."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

import headwater
from headwater.backend import Backend, RecordChange
from headwater.errors import StaleRecord
from headwater.store import EventStore
from headwater.testing.conformance.fixtures import StorePromises, needs

NAME = "consumers/billing/parts/00000"


def _count_and_kill(url: str, upto: int) -> int:
    """Let a process count up to a number, kill it without warning, and give the last number that it acknowledged."""
    command = [sys.executable, "-m", "headwater.testing.counting", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        numbers = []
        for line in process.stdout:
            numbers.append(int(line))
            if numbers[-1] == upto:
                process.kill()
        process.kill()
    assert numbers
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[-1] >= upto, "the process ended by itself; see its complaint on standard error"
    return numbers[-1]


class RecordPromises(StorePromises):
    """``Backend.load_records`` and ``Backend.save_records``."""

    @pytest_asyncio.fixture
    async def backend(self, store_url: str) -> AsyncIterator[Backend]:
        """The backend of the test's store, without a face: records are for the rest of the house."""
        async with headwater.connect(store_url) as store:
            needs(store, "records")
            yield store._backend

    async def test_record(self, backend: Backend) -> None:
        """A record is loaded as it was saved; saved again, with a higher revision; removed, not at all."""
        (first,) = await backend.save_records([RecordChange(NAME, b"\x00one\xff", 0)])
        (record,) = await backend.load_records(NAME)
        assert (record.name, record.value, record.revision) == (NAME, b"\x00one\xff", first)
        assert 0 <= record.age_us < 300_000_000
        (second,) = await backend.save_records([RecordChange(NAME, b"two", first)])
        assert second > first
        assert await backend.save_records([RecordChange(NAME, None, second)]) == [0]
        assert await backend.load_records(NAME) == []

    async def test_record_as_expected_only(self, backend: Backend) -> None:
        """A record that is not at the expected revision is left alone, and the error names it."""
        (first,) = await backend.save_records([RecordChange(NAME, b"one", 0)])
        (second,) = await backend.save_records([RecordChange(NAME, b"two")])
        for change in (
            RecordChange(NAME, b"three", first),
            RecordChange(NAME, b"three", 0),
            RecordChange(NAME, None, first),
            RecordChange(NAME, None, 0),
            RecordChange("consumers/other", b"three", first),
            RecordChange("consumers/other", None, first),
        ):
            with pytest.raises(StaleRecord) as stale:
                await backend.save_records([change])
            assert stale.value.name == change.name
        assert [(r.name, r.value, r.revision) for r in await backend.load_records("")] == [(NAME, b"two", second)]

    async def test_records_all_or_none(self, backend: Backend) -> None:
        """One change that does not fit refuses all; those that fit are answered in the order asked."""
        names = [f"parked/billing/{number}" for number in (3, 1, 2)]
        revisions = await backend.save_records([RecordChange(name, name.encode(), 0) for name in names])
        assert {r.name: r.revision for r in await backend.load_records("")} == dict(zip(names, revisions, strict=True))
        with pytest.raises(StaleRecord):
            await backend.save_records(
                [
                    RecordChange(names[0], b"new", revisions[0]),
                    RecordChange(names[1], None),
                    RecordChange("parked/billing/9", b"new", 0),
                    RecordChange(names[2], b"new", revisions[2] - 1),
                ]
            )
        assert [(r.name, r.value) for r in await backend.load_records("")] == [(n, n.encode()) for n in sorted(names)]

    async def test_revisions_never_come_twice(self, backend: Backend) -> None:
        """Over changes and removals, each value of a name has a revision of its own, and they rise."""
        seen = []
        for number in range(50):
            (revision,) = await backend.save_records([RecordChange(NAME, b"%d" % number)])
            seen.append(revision)
            if number % 3 == 0:
                await backend.save_records([RecordChange(NAME, None, revision)])
        assert seen == sorted(set(seen))

    async def test_one_of_many_swaps_wins(self, backend: Backend) -> None:
        """16 tasks count by compare-and-swap: no increment is lost."""
        await backend.save_records([RecordChange(NAME, b"0", 0)])

        async def count(times: int) -> None:
            while times:
                (record,) = await backend.load_records(NAME)
                try:
                    await backend.save_records([RecordChange(NAME, b"%d" % (int(record.value) + 1), record.revision)])
                except StaleRecord:
                    continue
                times -= 1

        await asyncio.gather(*[count(5) for _ in range(16)])
        (record,) = await backend.load_records(NAME)
        assert record.value == b"80"

    async def test_one_swap_wins_each_round(self, store_url: str, backend: Backend) -> None:
        """16 writers that know the same revision, over two openings of a shared store: one wins, 15 are told."""
        async with AsyncExitStack() as opened:
            shared = backend.capabilities.shared
            other = (await opened.enter_async_context(headwater.connect(store_url)))._backend if shared else backend
            revision = 0
            for turn in range(10):
                outcomes = await asyncio.gather(
                    *[
                        (other if number % 2 else backend).save_records(
                            [RecordChange(NAME, b"%d of %d" % (number, turn), revision)]
                        )
                        for number in range(16)
                    ],
                    return_exceptions=True,
                )
                won = [number for number in range(16) if isinstance(outcomes[number], list)]
                assert len(won) == 1
                assert sum(isinstance(outcome, StaleRecord) for outcome in outcomes) == 15
                (record,) = await other.load_records(NAME)
                assert (record.value, [record.revision]) == (b"%d of %d" % (won[0], turn), outcomes[won[0]])
                revision = record.revision

    async def test_ages_rise(self, backend: Backend) -> None:
        """A record ages from its last save on: leases are measured by that."""
        await backend.save_records([RecordChange(NAME, b"held", 0)])
        ages = []
        for _ in range(3):
            (record,) = await backend.load_records(NAME)
            ages.append(record.age_us)
            await asyncio.sleep(0.02)
        assert ages[1] - ages[0] >= 15_000
        assert ages[2] - ages[1] >= 15_000
        start = time.monotonic()
        await backend.save_records([RecordChange(NAME, b"held", record.revision)])
        (renewed,) = await backend.load_records(NAME)
        assert renewed.age_us <= (time.monotonic() - start) * 1_000_000 + 10_000  # else it would be 40 ms older

    async def test_changes_in_any_order_do_not_block_each_other(self, backend: Backend) -> None:
        """Calls that change the same records in different orders all come to their end."""
        names = [f"consumers/billing/parts/{number:05d}" for number in range(8)]

        async def change(turn: int) -> None:
            order = names[turn % 8 :] + names[: turn % 8]
            await backend.save_records([RecordChange(name, b"%d" % turn) for name in order])

        await asyncio.wait_for(asyncio.gather(*[change(turn) for turn in range(40)]), 60)
        assert len({record.value for record in await backend.load_records("")}) == 1

    async def test_records_by_prefix(self, backend: Backend) -> None:
        """By name in the order of UTF-8 bytes, in pages, whatever characters stand in names."""
        names = ["a%b", "a_b", "a'b", 'a"b', "a\\b", "aé", "a\uffff", "a\U0001f4a7", "a\U0010ffff", "ab", "b", "A"]
        await backend.save_records([RecordChange(name, b"", 0) for name in names])
        ordered = sorted(names, key=str.encode)
        assert [record.name for record in await backend.load_records("")] == ordered
        for prefix in ("a", "a%", "a_", "a'", "a\uffff", "a\U0010ffff", "b", "c"):
            wanted = [name for name in ordered if name.startswith(prefix)]
            assert [record.name for record in await backend.load_records(prefix)] == wanted
            paged, after = [], ""
            while page := await backend.load_records(prefix, after, 2):
                paged += [record.name for record in page]
                after = paged[-1]
            assert paged == wanted

    async def test_large_record(self, backend: Backend) -> None:
        """A record of 1 MiB is kept whole."""
        value = bytes(range(256)) * 4_096
        await backend.save_records([RecordChange("scheduled/1", value, 0)])
        assert [record.value for record in await backend.load_records("scheduled/")] == [value]

    async def test_killed_counter(self, store_url: str, backend: Backend) -> None:
        """After ``kill -9`` of a process that changes two records at a time, they hold what it acknowledged or the
        next, and never differ."""
        needs(backend, "durable", "shared")
        last = 0
        for upto in (1, 20, 60):
            last = await asyncio.to_thread(_count_and_kill, store_url, last + upto)
            first, second = [record.value for record in await backend.load_records("consumers/billing/parts/")]
            assert first == second
            assert int(first) in (last, last + 1)
            last = int(first)

    async def test_records_stay(self, store_url: str, store: EventStore) -> None:
        """Records are there when the store is opened again, with their revisions."""
        needs(store, "records", "durable")
        async with headwater.connect(store_url) as first:
            revisions = await first._backend.save_records([RecordChange(NAME, b"one", 0)])
        async with headwater.connect(store_url) as again:
            (record,) = await again._backend.load_records(NAME)
            assert [record.revision] == revisions
            with pytest.raises(StaleRecord):
                await again._backend.save_records([RecordChange(NAME, b"two", 0)])
