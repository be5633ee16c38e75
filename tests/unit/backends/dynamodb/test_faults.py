"""What DynamoDB does to a client on bad days. Nothing is lost, nothing is doubled, and positions have no holes."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from tests.unit.backends.dynamodb.faults import FaultyClient, service_of

import headwater as hw
from headwater.backends.dynamodb import DynamoDBBackend, service, settling
from headwater.backends.dynamodb.keys import GLOBAL
from headwater.lifecycle import verify
from headwater.testing.loans import CASE


def note(number: int) -> hw.NewEvent:
    return hw.NewEvent("NoteTaken", [number], tags=["clerk:112"])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts are short."""

    async def pause(attempt: int, most: float = 0.25) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(service, "pause", pause)


async def surely(store: hw.EventStore, stream: str | None, event: hw.NewEvent) -> hw.Appended:
    """Append as an application does: again with the same id, until it is known to be stored."""
    while True:
        try:
            return await store.append(stream, event)
        except (hw.OutcomeUnknown, hw.StoreUnavailable):
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(("seed", "ordering"), [(1, "sync"), (2, "sync"), (3, "sync"), (4, "async"), (5, "async")])
async def test_each_append_is_stored_once_whatever_happens(
    dynamodb_url: str, quick: None, seed: int, ordering: str
) -> None:
    choose = random.Random(seed)
    url = f"{dynamodb_url}&ordering={ordering}"
    async with hw.connect(url) as one, hw.connect(url) as other:
        clients = [FaultyClient.at_random(store, choose, 0.15) for store in (one, other)]

        async def write(store: hw.EventStore, writer: int) -> list[str]:
            ids = []
            for number in range(8):
                event = note(number)
                await surely(store, choose.choice([CASE, f"loan-{writer}", None]), event)
                ids.append(str(event.id))
            return ids

        written = await asyncio.gather(*[write(choose.choice([one, other]), writer) for writer in range(8)])
        assert {"lost", "throttled", "failed", "unsent"} <= {*clients[0].faults, *clients[1].faults}
    async with hw.connect(dynamodb_url) as store:
        there = Counter([str(event.id) async for event in store.read_all()])
        assert there == Counter(id for ids in written for id in ids)
        assert [event.position async for event in store.read_all()] == list(range(1, 65))
        assert (await verify(store)).findings == []


async def test_an_append_of_eleven_minutes_ago_is_recognised(dynamodb_url: str, quick: None) -> None:
    """DynamoDB forgets a request's token after ten minutes; the events' ids are what counts."""
    tokens: list[str] = []

    def fault(operation: str, request: dict[str, Any]) -> str | None:
        if operation != "transact_write_items":
            return "unsent" if tokens else None  # nothing can be asked
        tokens.append(request["ClientRequestToken"])
        return "lost"

    event = note(1)
    async with hw.connect(dynamodb_url) as store:
        client = FaultyClient.into(store, fault)
        with pytest.raises(hw.OutcomeUnknown):
            await store.append(CASE, event, expected=hw.NO_STREAM)
        assert len(set(tokens)) == 1, "it was sent again under its own token"
        client._fault = lambda operation, request: None
        tokens.clear()
    async with hw.connect(dynamodb_url) as later:  # which knows nothing of that token
        await later.append("loan-173691", note(2))
        done = await later.append(CASE, event, expected=hw.NO_STREAM)
        assert (done.version, done.position, done.duplicate) == (1, 1, True)
        assert [each.id async for each in later.read(CASE)] == [event.id]


async def test_an_answer_that_is_lost_is_found_by_the_ids(dynamodb_url: str, quick: None) -> None:
    """All answers to one transaction are lost: it was stored, once, and that is no duplicate."""
    lost = 0

    def fault(operation: str, request: dict[str, Any]) -> str | None:
        nonlocal lost
        if operation == "transact_write_items" and lost < service.ATTEMPTS:
            lost += 1
            return "lost"
        return None

    async with hw.connect(dynamodb_url) as store:
        FaultyClient.into(store, fault)
        done = await store.append(CASE, note(1), expected=0)
        assert (done.version, done.position, done.duplicate) == (1, 1, False)
        assert await store.head() == 1


async def test_overlapping_transactions_are_sent_again(dynamodb_url: str, quick: None) -> None:
    left = 10

    def fault(operation: str, request: dict[str, Any]) -> str | None:
        nonlocal left
        left -= operation == "transact_write_items"
        return "overlapped" if operation == "transact_write_items" and left >= 0 else None

    async with hw.connect(dynamodb_url) as store:
        client = FaultyClient.into(store, fault)
        assert (await store.append(CASE, note(1))).position == 1
        assert client.faults == ["overlapped"] * 10


async def test_too_much_at_a_time_is_said(dynamodb_url: str, quick: None) -> None:
    async with hw.connect(dynamodb_url) as store:
        client = FaultyClient.into(store, lambda operation, request: "throttled")
        with pytest.raises(hw.StoreUnavailable, match="on-demand") as refused:
            await store.append(CASE, note(1))
        assert refused.value.transient
        client._fault = lambda operation, request: None
        assert (await store.append(CASE, note(1))).position == 1


@pytest.mark.parametrize("seed", range(4))
async def test_of_several_who_give_positions_some_die(
    dynamodb_url: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Committed without positions; three processes give them at once, and are cut off between any two requests."""
    choose = random.Random(seed)
    monkeypatch.setattr(settling, "PAUSE_SECONDS", 3_600.0)
    async with hw.connect(f"{dynamodb_url}&ordering=async") as store:
        events = [note(number) for number in range(120)]
        for event in events:
            await store.append(choose.choice([CASE, "loan-173691", "loan-173694"]), event)
        last = await service_of(store).get(GLOBAL)
        assert last is not None
        assert last["v"] == 0

        async def help_a_while() -> None:
            async with hw.connect(dynamodb_url) as helper:
                backend = helper._backend
                assert isinstance(backend, DynamoDBBackend)
                with suppress(TimeoutError):
                    async with asyncio.timeout(choose.uniform(0.0, 0.06)):
                        await backend._sequencer.settle()

        for _ in range(4):
            await asyncio.gather(*[help_a_while() for _ in range(3)])
        async with hw.connect(dynamodb_url) as reader:
            there = [(event.position, event.id) async for event in reader.read_all()]
            assert [position for position, _ in there] == list(range(1, 121))
            assert {id for _, id in there} == {event.id for event in events}
            assert (await verify(reader)).findings == []


async def test_what_a_killed_process_has_committed_gets_its_position_from_the_next(
    dynamodb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "PAUSE_SECONDS", 3_600.0)
    killed = await hw.connect(f"{dynamodb_url}&ordering=async")
    done = await killed.append(CASE, [note(1), note(2)])
    assert (done.version, done.position) == (2, 0)
    await service_of(killed).close()  # and with it, all that it could still have done
    async with hw.connect(dynamodb_url) as next_one:
        assert (await next_one.append(CASE, note(3), expected=2)).position == 3
        assert [(e.position, e.version) async for e in next_one.read_all()] == [(1, 1), (2, 2), (3, 3)]
    with suppress(hw.HeadwaterError):
        await killed.close()


async def test_a_version_beyond_the_end_or_inside_a_batch_is_refused(dynamodb_url: str) -> None:
    """The two traps of keys that only must not be there yet: a gap, and an overlap."""
    async with hw.connect(dynamodb_url) as store:
        for expected in (9, 1):
            with pytest.raises(hw.WrongExpectedVersion):
                await store.append(CASE, note(1), expected=expected)
        await store.append(CASE, [note(number) for number in range(5)], expected=0)
        for expected in (2, 4, 6, 9):
            with pytest.raises(hw.WrongExpectedVersion) as refused:
                await store.append(CASE, note(6), expected=expected)
            assert refused.value.actual == 5
    async with hw.connect(dynamodb_url) as fresh:  # remembers nothing of the stream
        with pytest.raises(hw.WrongExpectedVersion):
            await fresh.append(CASE, note(6), expected=2)
        assert [event.version async for event in fresh.read(CASE)] == [1, 2, 3, 4, 5]
