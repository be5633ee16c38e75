"""The application's side: how fast stored events become objects, and what a snapshot saves on a long stream."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from eventsourcing.domain import DomainEvent
from eventsourcing.persistence import DatetimeAsISO, JSONTranscoder, Mapper, UUIDAsHex

import headwater as hw
from measuring import LOAN, Comparison, alternate, rate, show, workspace

EVENTS = 20_000
LONG = 100_000


@hw.event("A_SUBMITTED")
class Submitted(msgspec.Struct, frozen=True):
    activity: str
    lifecycle: str
    resource: str
    amount_requested: int
    registered: str
    occurred: str
    case: str


@hw.event("A_SUBMITTED", version=2, upcast={1: hw.Change(rename={"amount_requested": "amount"})})
class SubmittedLater(msgspec.Struct, frozen=True):
    activity: str
    lifecycle: str
    resource: str
    amount: int
    registered: str
    occurred: str
    case: str


@dataclass(frozen=True)
class Plain:
    activity: str
    lifecycle: str
    resource: str
    amount_requested: int
    registered: str
    occurred: str
    case: str


class PeerSubmitted(DomainEvent):
    activity: str
    lifecycle: str
    resource: str
    amount_requested: int
    registered: str
    occurred: str
    case: str


async def stored() -> list[hw.Event]:
    """Events as a reader has them: their data are bytes."""
    async with hw.connect("memory:") as store:
        await store.append("loan-173688", [hw.NewEvent("A_SUBMITTED", LOAN) for _ in range(1_000)])
        events = [event async for event in store.read("loan-173688")]
    return events * (EVENTS // 1_000)


def _transcoder() -> JSONTranscoder:
    """As that package's applications have it."""
    transcoder = JSONTranscoder()
    transcoder.register(UUIDAsHex())
    transcoder.register(DatetimeAsISO())
    return transcoder


def decoding(events: list[hw.Event]) -> list[Comparison]:
    codec, later = hw.Codec([Submitted]), hw.Codec([SubmittedLater])
    bare = msgspec.json.Decoder(Submitted)
    mapper: Mapper[uuid.UUID] = Mapper(_transcoder())
    peer = mapper.to_stored_event(
        PeerSubmitted(originator_id=uuid.uuid4(), originator_version=1, timestamp=datetime.now(UTC), **LOAN)
    )

    def each(decode: Callable[[hw.Event], object]) -> Callable[[], float]:
        def work() -> None:
            for event in events:
                decode(event)

        return lambda: rate(EVENTS, work)

    ours, upcast, msgspecs, plain, theirs = alternate(
        7,
        each(codec.decode),
        each(later.decode),
        each(lambda event: bare.decode(event.raw_data)),
        each(lambda event: Plain(**json.loads(event.raw_data))),
        each(lambda event: mapper.to_domain_event(peer)),
    )
    return [
        Comparison("the present version", ours, msgspecs, "msgspec's decoder alone", at_least=0.7),
        Comparison("the present version", ours, plain, "json.loads and a dataclass", at_least=1),
        Comparison("the present version", ours, theirs, "eventsourcing's mapper", at_least=3),
        Comparison("an older version, brought up", upcast, theirs, "eventsourcing's mapper", at_least=1),
    ]


class Loan(msgspec.Struct, frozen=True):
    steps: int = 0
    amount: int = 0


def evolve(loan: Loan, event: Submitted) -> Loan:
    return Loan(loan.steps + 1, event.amount_requested)


async def loading(url: str) -> Comparison:
    """A stream of 100,000 events, loaded with its snapshot and without."""
    codec = hw.Codec([Submitted])
    rule: hw.Decider[object, Loan] = hw.Decider(Loan(), lambda command, state: [], evolve, name="loan")
    async with hw.connect(url) as store:
        for _ in range(LONG // 1_000):
            await store.append("loan-173688", [hw.NewEvent("A_SUBMITTED", LOAN) for _ in range(1_000)])
        keeping = hw.Repository(store, codec, rule, snapshots=hw.SnapshotEvery(events=LONG))
        await keeping.load("loan-173688")
        await keeping.settle()
        await store.append("loan-173688", [hw.NewEvent("A_SUBMITTED", LOAN) for _ in range(100)])
        replaying = hw.Repository(store, codec, rule)

        async def loads(loans: hw.Repository[object, Loan], times: int) -> float:
            start = time.perf_counter()
            for _ in range(times):
                assert (await loans.load("loan-173688")).state.steps == LONG + 100
            return times / (time.perf_counter() - start)

        kept, replayed = await loads(keeping, 200), await loads(replaying, 10)
    return Comparison("with a snapshot, 100 events old", kept, replayed, "all events read", at_least=100)


def main() -> None:
    with workspace() as name:
        events = asyncio.run(stored())
        show("Stored events to objects, events a second", decoding(events))
        url = f"sqlite:///{Path(name).absolute()}/long.db"
        show("Loading a stream of 100,000 events on SQLite, loads a second", [asyncio.run(loading(url))])


if __name__ == "__main__":
    main()
