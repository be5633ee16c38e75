"""Redelivery: what bears it passes, what does not is told, by the event and the first difference."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

import headwater as hw
from headwater import sync
from headwater.projections.sink import ProjectionSink
from headwater.testing.reacting import GivenStore
from headwater.testing.redelivery import check_handler, check_projection, check_reactor
from tests.unit.deciders import bank
from tests.unit.deciders.bank import Bank, Opened, TransferRequested
from tests.unit.deciders.loans import CODEC, Approved, Paid, Requested
from tests.unit.testing.test_projecting import Owed

LOAN = [("loan-1", each) for each in (Requested("112", 1_000), Paid(400), Approved("anna"), Paid(100))]
TRANSFERS = [
    (bank.ONE, Opened(100)),
    *((f"transfer-{number}", TransferRequested(bank.ONE, bank.OTHER, 30)) for number in range(1, 5)),
]
REQUESTS = hw.Query([hw.QueryItem(types=["TransferRequested"])])


def sums(*, careful: bool, blocking: bool = False) -> Any:
    """Adds up what was paid; carefully, each event once."""
    paid: dict[str, int] = {}
    known: set[int] = set()

    def add(event: hw.Event) -> None:
        if careful and event.position in known:
            return
        known.add(event.position)
        paid[str(event.stream)] = paid.get(str(event.stream), 0) + event.data["amount"]

    async def add_later(event: hw.Event) -> None:
        add(event)

    async def told() -> dict[str, int]:
        return paid

    return (add, lambda: paid) if blocking else (add_later, told)


PAID = hw.Query([hw.QueryItem(types=["InstalmentPaid"])])


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_handler_that_bears_it(blocking: bool) -> None:
    await check_handler(lambda: sums(careful=True, blocking=blocking), *LOAN, query=PAID, codec=CODEC)


async def test_a_handler_that_adds_up_twice() -> None:
    with pytest.raises(AssertionError) as told:
        await check_handler(lambda: sums(careful=False), *LOAN, query=PAID, codec=CODEC)
    lines = str(told.value).splitlines()
    assert lines == [
        "delivered again (seed 0), and not only once: other effects",
        "1 loan-1: Paid(amount=400)",
        "2 loan-1: Paid(amount=100)",
        "deliveries: 1, 2, 2",
        "expected: 'loan-1': 500",
        "found:    'loan-1': 600",
    ]


async def test_a_handler_that_fails() -> None:
    def picky() -> Any:
        known: set[int] = set()

        def handler(event: hw.Event) -> None:
            if event.position in known:
                raise KeyError(event.position)
            known.add(event.position)

        return handler, lambda: known

    with pytest.raises(AssertionError, match=r"again \(seed \d+\), and not only once: raised KeyError\(\d\)"):
        await check_handler(picky, *LOAN, codec=CODEC)

    def fails(event: hw.Event) -> None:
        raise KeyError("owner")

    with pytest.raises(AssertionError, match="delivered once: raised KeyError"):
        await check_handler(lambda: (fails, lambda: None), *LOAN, codec=CODEC)


async def test_nothing_to_deliver_is_no_test() -> None:
    for happened in ([], LOAN):
        with pytest.raises(AssertionError, match="no event was delivered"):
            await check_handler(lambda: sums(careful=True), *happened, query=REQUESTS, codec=CODEC)


async def letters(event: hw.Event, reaction: hw.Reaction, given: GivenStore, *, key: bool = True) -> None:
    await given.calls.post("/letters", key=reaction.key if key else None)
    await reaction.append("letters-1", hw.NewEvent("LetterSent", {"about": event.type}))
    await reaction.schedule(event.stream, hw.NewEvent("Reminded", {}), due=timedelta(days=1))


def reactor(handler: Callable[..., Any], **options: Any) -> Callable[[GivenStore], Any]:
    def make(given: GivenStore) -> Any:
        async def react(event: hw.Event, reaction: hw.Reaction) -> None:
            await handler(event, reaction, given, **options)

        return react

    return make


async def test_a_reactor_that_bears_it() -> None:
    await check_reactor(reactor(letters), *LOAN, codec=CODEC)


async def test_a_plain_function_that_bears_it() -> None:
    def make(given: GivenStore) -> Any:
        def react(event: hw.Event, reaction: sync.Reaction) -> None:
            given.calls.post("/letters", key=reaction.key)
            reaction.append("letters-1", hw.NewEvent("LetterSent", {}))

        return react

    await check_reactor(make, *LOAN, codec=CODEC)


async def test_a_process_manager_that_bears_it() -> None:
    await check_reactor(lambda given: Bank(given.store).settle, *TRANSFERS, query=REQUESTS, codec=bank.CODEC)


async def by_the_store(event: hw.Event, reaction: hw.Reaction, given: GivenStore) -> None:
    await given.store.append("letters-1", hw.NewEvent("LetterSent", {}))


async def one_after_the_other(event: hw.Event, reaction: hw.Reaction, given: GivenStore) -> None:
    """Sends a letter unless one was sent: and dies in between."""
    sent = [each.data["about"] async for each in given.store.read("letters-1")]
    if str(event.id) not in sent:
        await given.store.append("letters-1", hw.NewEvent("LetterSent", {"about": str(event.id)}))
        await given.store.append("postage-1", hw.NewEvent("PostagePaid", {}))


async def counted(event: hw.Event, reaction: hw.Reaction, given: GivenStore) -> None:
    """Relies on how many there are, which is something else the second time."""
    number = len([each async for each in given.store.read("letters-1")])
    await given.store.append("letters-1", hw.NewEvent("LetterSent", {"number": number}, id=reaction.key))
    await given.calls.post("/letters", number, key=reaction.key)


async def schedules_first(event: hw.Event, reaction: hw.Reaction, given: GivenStore) -> None:
    """Takes what it scheduled for a sign that the letter was sent: and dies in between."""
    due = [record.data async for each in given.store.scheduled.all() for record in each.events]
    if not any(reaction.key.encode() in data for data in due):
        reminded = hw.NewEvent("Reminded", {"by": reaction.key})
        await reaction.schedule("letters-1", reminded, due=timedelta(days=1))
        await reaction.append("letters-1", hw.NewEvent("LetterSent", {}))


async def calls_first(event: hw.Event, reaction: hw.Reaction, given: GivenStore) -> None:
    """Asks the service whether it was called: and dies in between."""
    if reaction.key not in [call.named["key"] for call in given.calls.made]:
        await given.calls.post("/letters", key=reaction.key)
        await reaction.append("letters-1", hw.NewEvent("LetterSent", {}))


def remembering(given: GivenStore) -> Any:
    """Remembers in memory what it has done."""
    known = set()

    async def react(event: hw.Event, reaction: hw.Reaction) -> None:
        if event.id not in known:
            known.add(event.id)
            await by_the_store(event, reaction, given)

    return react


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (reactor(by_the_store), "found:    append letters-1: LetterSent {}"),
        (reactor(letters, key=False), "found:    call post('/letters', key=None)"),
        (reactor(one_after_the_other), "expected: append postage-1: PostagePaid {}\nfound:    nothing more"),
        (reactor(schedules_first), "expected: append letters-1: LetterSent {}\nfound:    schedule letters-1: Reminded"),
        (reactor(calls_first), "expected: append letters-1: LetterSent {}\nfound:    call post("),
        (remembering, "expected: nothing more\nfound:    append letters-1: LetterSent {}"),
        (reactor(counted), "found:    call post('/letters', "),
    ],
)
async def test_a_reactor_that_does_not_bear_it(make: Any, says: str) -> None:
    with pytest.raises(AssertionError) as told:
        await check_reactor(make, *LOAN, codec=CODEC)
    assert says in str(told.value)
    assert "delivered again (seed " in str(told.value)


async def test_a_process_manager_that_moves_money_twice() -> None:
    def make(given: GivenStore) -> Any:
        ours = Bank(given.store)

        async def settle(event: hw.Event, reaction: hw.Reaction) -> None:
            await hw.execute_all(ours.pair(), bank.transfer(event.data["amount"]))

        return settle

    with pytest.raises(AssertionError, match=r"MoneyDeposited|Deposited\(amount=30\)|not enough money"):
        await check_reactor(make, *TRANSFERS, query=REQUESTS, codec=bank.CODEC)


async def test_a_projection_that_bears_it() -> None:
    await check_projection(Owed, *LOAN, codec=CODEC)


class Numbered(Owed):
    """Counts in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    @hw.handles("LoanApproved")
    def approved(self, event: hw.Event, view: hw.View) -> None:
        self.count += 1
        view.execute("insert into {approvals} values (:loan, :by)", {"loan": event.stream, "by": str(self.count)})


class Timed(Owed):
    """Looks at the clock."""

    @hw.handles("LoanApproved")
    def approved(self, event: hw.Event, view: hw.View) -> None:
        view.execute("insert into {approvals} values (:loan, :by)", {"loan": event.stream, "by": str(time.time_ns())})


@pytest.mark.parametrize("projection", [Numbered, Timed])
async def test_a_projection_that_does_not_bear_it(projection: type[Owed]) -> None:
    approvals = [(f"loan-{number}", Approved("anna")) for number in range(1, 6)]
    with pytest.raises(AssertionError) as told:
        await check_projection(projection, *approvals, codec=CODEC)
    assert "expected: approvals: {'loan': 'loan-" in str(told.value)


async def test_deliveries_are_the_same_each_time() -> None:
    async def said(seed: int) -> str:
        with pytest.raises(AssertionError) as told:
            await check_reactor(reactor(by_the_store), *LOAN, codec=CODEC, seed=seed)
        return str(told.value)

    assert await said(3) == await said(3)
    assert len({await said(seed) for seed in range(10)}) > 3


async def test_projections_are_rolled_back_batched_and_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the checks above have something to find."""
    applied: list[str] = []
    batches: list[int] = []
    apply, handle = Owed.apply, ProjectionSink.handle

    def noted(self: Owed, event: hw.Event, view: hw.View) -> None:
        applied.append(event.type)
        apply(self, event, view)

    async def counted(self: ProjectionSink, part: int, events: Sequence[hw.Event]) -> None:
        batches.append(len(events))
        await handle(self, part, events)

    monkeypatch.setattr(Owed, "apply", noted)
    monkeypatch.setattr(ProjectionSink, "handle", counted)
    made: list[Owed] = []
    await check_projection(lambda: made.append(Owed()) or made[-1], *LOAN, codec=CODEC, rounds=10)  # type: ignore[func-returns-value]
    assert applied.count("LoanRequested") > 11
    assert max(batches) > 1
    assert len(made) > 11
