"""A table that was restored with parts of the last transactions is brought back to whole appends."""

from __future__ import annotations

import random
from typing import Any

import pytest

import headwater as hw
from headwater.backends.dynamodb import DynamoDBBackend, repair
from headwater.backends.dynamodb.requests import key_of
from headwater.backends.dynamodb.service import Service
from headwater.backends.dynamodb.url import parse
from headwater.lifecycle import verify
from headwater.testing.loans import CASE, loan

OTHER = "loan-173691"
Items = dict[tuple[str, str], dict[str, Any]]


async def items_of(store: hw.EventStore) -> Items:
    backend = store._backend
    assert isinstance(backend, DynamoDBBackend)
    return {key_of(item): item async for item in backend.service.scan()}


async def write_some(store: hw.EventStore, choose: random.Random, label: str) -> list[list[str]]:
    """Appends of all kinds; the ids of each."""
    appended = []
    for number in range(6):
        new = [hw.NewEvent("NoteTaken", [label, number, each], tags=["clerk:112"]) for each in range(3)]
        match choose.randrange(5):
            case 0:
                await store.append(CASE, new)
            case 1:
                await store.append(f"loan-{label}-{number}", new)
            case 2:
                await store.append(None, new)
            case 3:
                new = [hw.NewEvent("NoteTaken", "x" * 200, tags=["clerk:112"]) for _ in range(120)]  # staged
                await store.append(OTHER, new)
            case _:
                await store.append_all([hw.Append(CASE, new[:1]), hw.Append(OTHER, new[1:])])
        appended.append([str(event.id) for event in new])
    return appended


async def restore(url: str, before: Items, after: Items, choose: random.Random) -> None:
    """Have each item that has changed be as it was before, or as it is now."""
    service = Service(parse(url))
    await service.open()
    try:
        for key in before.keys() | after.keys():
            if before.get(key) != after.get(key) and choose.random() < 0.4:
                await (service.put(before[key]) if key in before else service.delete(key))
    finally:
        await service.close()


@pytest.mark.parametrize("seed", range(12))
async def test_what_was_stored_before_is_kept_and_the_rest_is_whole(dynamodb_url: str, seed: int) -> None:
    choose = random.Random(seed)
    url = dynamodb_url + ("&ordering=async" if seed % 3 == 0 else "")
    async with hw.connect(url) as store:
        await store.append(CASE, loan(26))
        early = await write_some(store, choose, "early")
        head = await store.head()
        settled = [(e.position, str(e.id), e.stream, e.version) async for e in store.read_all()]
        before = await items_of(store)
        late = await write_some(store, choose, "late")
        after = await items_of(store)
    await restore(url, before, after, choose)

    said = await repair(url)
    async with hw.connect(url) as store:
        assert (await verify(store)).findings == []
        there = [(e.position, str(e.id), e.stream, e.version) async for e in store.read_all()]
        assert there[:head] == settled
        ids = {id for _, id, _, _ in there}
        assert all(set(append) <= ids for append in early)
        assert all(set(append) <= ids or not set(append) & ids for append in late), "an append is all there, or not"
        assert bool(said) or all(set(append) <= ids for append in late)
        for stream in (CASE, OTHER, "loan-new"):
            await store.append(stream, hw.NewEvent("NoteTaken", "after the restore"))
        assert (await verify(store)).findings == []
    assert await repair(url) == []


async def test_a_table_in_order_is_left_alone(dynamodb_url: str) -> None:
    async with hw.connect(dynamodb_url) as store:
        await write_some(store, random.Random(7), "early")
        await store.tombstone_stream("loan-never-used")
        before = await items_of(store)
    assert await repair(dynamodb_url) == []
    async with hw.connect(dynamodb_url) as store:
        assert await items_of(store) == before


async def test_a_damaged_commit_is_kept_aside_with_all_that_follows_it(dynamodb_url: str) -> None:
    async with hw.connect(dynamodb_url) as store:
        await store.append(CASE, loan(26)[:2])
        await store.append(CASE, loan(26)[2:4])
        await store.append(CASE, loan(26)[4:])
        items = await items_of(store)
        backend = store._backend
        assert isinstance(backend, DynamoDBBackend)
        await backend.service.delete((f"S#{CASE}", f"E#{3:019d}"))
    said = await repair(dynamodb_url)
    assert any("versions 5 to 26" in sentence and "kept aside" in sentence for sentence in said)
    async with hw.connect(dynamodb_url) as store:
        assert [event.version async for event in store.read(CASE)] == [1, 2]
        aside = (await items_of(store))[f"Q#S#{CASE}", f"E#{5:019d}"]
        assert aside["b"] == items[f"S#{CASE}", f"E#{5:019d}"]["b"]
        assert (await verify(store)).findings == []
