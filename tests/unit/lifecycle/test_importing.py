"""Batches: their order, their size, and what happens when a store has a part of one."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

import headwater as hw
from headwater.lifecycle import ImportConflict, InvalidFile, Progress, import_file
from headwater.lifecycle.importing import BATCH_EVENTS

TYPES = ("A_SUBMITTED", "A_PARTLYSUBMITTED", "A_DECLINED")


def rows(cases: int) -> list[dict[str, str]]:
    """Three events of each case: all first ones, then all second ones, then all third ones."""
    return [
        {"case_id": str(173688 + 3 * number), "activity": kind, "timestamp": f"2011-10-0{day}T08:00:00Z"}
        for day, kind in enumerate(TYPES, 1)
        for number in range(cases)
    ]


def table(path: Path, content: list[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in content))
    return str(path)


async def test_a_part_that_is_there_already_is_found_event_by_event(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/loans.db"
    whole = rows(300)
    kept = [row for number, row in enumerate(whole) if number < 450 or (number < 600 and number % 3)]
    for case in {row["case_id"] for row in kept}:  # only histories without a hole, as an import would leave them
        types = [row["activity"] for row in kept if row["case_id"] == case]
        kept = [row for row in kept if row["case_id"] != case or row["activity"] in TYPES[: len(types)]]
    first = await import_file(table(tmp_path / "part.jsonl", kept), url)
    by_case = sorted(whole, key=lambda row: row["case_id"])  # another order, so other batches
    second = await import_file(table(tmp_path / "by_case.jsonl", by_case), url)
    assert first.added == len(kept)
    assert (second.added, second.present) == (900 - len(kept), len(kept))
    async with hw.connect(url) as store:
        for case in {row["case_id"] for row in whole}:
            assert [event.type async for event in store.read(f"case-{case}")] == list(TYPES)


async def test_progress_rises_to_the_whole_file(tmp_path: Path) -> None:
    seen: list[Progress] = []
    file = table(tmp_path / "table.jsonl", rows(2 * BATCH_EVENTS))
    done = await import_file(file, f"sqlite:///{tmp_path}/loans.db", on_progress=seen.append)
    assert [now.added for now in seen] == list(range(BATCH_EVENTS, 6 * BATCH_EVENTS + 1, BATCH_EVENTS))
    assert all(later.bytes_read >= earlier.bytes_read for earlier, later in itertools.pairwise(seen))
    assert seen[-1].bytes_read == seen[-1].bytes_total == Path(file).stat().st_size
    assert (done.added, done.streams) == (6 * BATCH_EVENTS, 2 * BATCH_EVENTS)


async def test_large_events_make_small_batches(tmp_path: Path) -> None:
    pages = [{"case_id": "1", "activity": "ScanReceived", "page": "x" * 900_000, "n": str(n)} for n in range(40)]
    file = table(tmp_path / "scans.jsonl", pages)
    done = await import_file(file, f"sqlite:///{tmp_path}/scans.db")
    assert done.added == 40, "36 MB, over what one append may carry"


async def test_an_event_over_a_limit_is_named(tmp_path: Path) -> None:
    content = [*rows(2), {"case_id": "1", "activity": "ScanReceived", "page": "x" * 1_100_000}]
    with pytest.raises(InvalidFile, match="over the limit event_bytes_max") as refused:
        await import_file(table(tmp_path / "scans.jsonl", content), f"sqlite:///{tmp_path}/scans.db")
    assert refused.value.place == "line 7"


async def test_a_stream_that_went_on_takes_no_other_history(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/loans.db"
    file = table(tmp_path / "table.jsonl", rows(3))
    await import_file(file, url)
    async with hw.connect(url) as store:
        await store.append("case-173688", hw.NewEvent("A_CANCELLED", {}))
    assert (await import_file(file, url)).added == 0, "the same file is still known"
    grown = [*rows(3), {"case_id": "173688", "activity": "A_ACTIVATED", "timestamp": "2011-10-09T08:00:00Z"}]
    with pytest.raises(ImportConflict, match=r"should follow version 3 of stream 'case-173688'") as refused:
        await import_file(table(tmp_path / "grown.jsonl", grown), url)
    assert (refused.value.place, refused.value.expected, refused.value.actual) == ("line 10", 3, 4)
    assert (await import_file(str(tmp_path / "grown.jsonl"), url, join=True)).added == 1
    assert (await import_file(str(tmp_path / "grown.jsonl"), url, join=True)).added == 0


async def test_a_tombstoned_stream_says_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/loans.db"
    async with hw.connect(url) as store:
        await store.tombstone_stream("case-173688")
    with pytest.raises(hw.StreamDeleted, match="case-173688"):
        await import_file(table(tmp_path / "table.jsonl", rows(3)), url)
