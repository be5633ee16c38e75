"""Types as a user's type checker sees them; checked by mypy, never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import assert_type

import headwater as hw
from headwater import sync


async def asynchronous() -> None:
    async with hw.connect("memory:", limits=hw.Limits(tags_max=3)) as store:
        assert_type(store, hw.EventStore)
        events = [hw.NewEvent("LoanRequested", {"amount": 20000}, tags=["applicant:112"])]
        assert_type(await store.append("loan-173688", events, expected=hw.NO_STREAM), hw.Appended)
        await store.append("loan-173688", events, expected=1)
        condition = hw.AppendCondition(hw.Query([hw.QueryItem(types=["LoanRequested"])]), after=3)
        assert_type(await store.append_all([hw.Append(None, events, condition=condition)]), list[hw.Appended])
        assert_type(store.read("loan-173688"), AsyncGenerator[hw.Event, None])
        assert_type(store.read_all(query=hw.Query.all(), backwards=True), AsyncGenerator[hw.Event, None])
        assert_type(store.subscribe(marks=True), AsyncGenerator[hw.Event | hw.CaughtUp | hw.FellBehind, None])
        assert_type(await store.stream("loan-173688"), hw.StreamInfo | None)
        assert_type(await store.snapshots.load("loan-173688"), hw.Snapshot | None)
        assert_type(await store.checkpoints.load("offers"), hw.Checkpoint | None)
        assert_type(store.capabilities.append_condition, bool)
    opened = await hw.connect("memory:")
    assert_type(opened, hw.EventStore)
    assert_type(opened.consumer("billing", bill, on_failure="park_key", start=hw.NOW), hw.Consumer)
    assert_type(opened.consumer("billing", lambda events: print(len(events)), batch=100), hw.Consumer)
    assert_type(opened.reactor("letters", send_letter), hw.Consumer)
    assert_type(opened.reactor("letters", send_letter_in_thread), hw.Consumer)
    assert_type(await opened.consumers.info("billing"), hw.ConsumerInfo)
    assert_type(opened.parked("billing").all(), AsyncGenerator[hw.Parked, None])
    assert_type(await opened.audit("billing"), hw.Audit)
    assert_type(opened.scheduled.all(), AsyncGenerator[hw.Scheduled, None])


async def bill(event: hw.Event) -> None:
    print(event.data)


async def send_letter(event: hw.Event, reaction: hw.Reaction) -> None:
    assert_type(await reaction.append("letters-1", hw.NewEvent("LetterSent", {})), hw.Appended)


def send_letter_in_thread(event: hw.Event, reaction: sync.Reaction) -> None:
    assert_type(reaction.append("letters-1", hw.NewEvent("LetterSent", {})), hw.Appended)


def synchronous() -> None:
    with sync.connect("memory:") as store:
        assert_type(store, sync.EventStore)
        assert_type(store.append("loan-173688", [hw.NewEvent("LoanRequested", {})]), hw.Appended)
        assert_type(store.read("loan-173688"), Iterator[hw.Event])
        assert_type(store.read_all(), Iterator[hw.Event])
        assert_type(store.streams(category="loan"), Iterator[hw.StreamInfo])
        assert_type(store.categories(), dict[str, int])
        assert_type(store.subscribe(), Iterator[hw.Event | hw.CaughtUp | hw.FellBehind])
        assert_type(store.reactor("letters", send_letter_in_thread), sync.Consumer)
        assert_type(store.parked("letters").all(), Iterator[hw.Parked])
        assert_type(store.checkpoints.save("offers", 7), hw.Checkpoint)


async def wrong() -> None:
    async with hw.connect("memory:") as store:
        await store.append("loan-173688", [{"type": "LoanRequested"}])  # type: ignore[list-item]  # must be refused
        await store.append("loan-173688", [], expected="ANY")  # type: ignore[arg-type]  # must be refused
        store.consumer("billing", bill, on_failure="drop")  # type: ignore[arg-type]  # must be refused
        store.append("loan-173688", [])  # type: ignore[unused-coroutine]  # a forgotten await must be noticed
