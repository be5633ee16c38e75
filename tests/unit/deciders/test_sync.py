"""Repositories and boundaries without asyncio, in a thread of the caller's and by the background loop."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater import sync
from tests.unit.deciders import bank
from tests.unit.deciders import test_boundaries as courses
from tests.unit.deciders.loans import CODEC, RULE, STREAM, Loan, Paid, Pay, Refused, Request


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sync.EventStore]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/loans.db"
    else:
        url = request.getfixturevalue("postgres_schema_url")
    with sync.connect(url) as store:
        yield store


def test_commands_from_threads(store: sync.EventStore) -> None:
    loans: sync.Repository[Any, Loan] = sync.Repository(
        store, CODEC, RULE, retry=hw.Retry(attempts=None, first=0.001, most=0.02)
    )
    loans.execute(STREAM, Request("112", 1_000), id="request-1")

    def pay(number: int) -> bool:
        try:
            return not loans.execute(STREAM, Pay(100), id=f"pay-{number % 16}").duplicate
        except Refused:
            return False

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(pay, range(32))) == 10
    assert loans.load(STREAM).state.paid == 1_000


def test_snapshots(store: sync.EventStore) -> None:
    store.append(STREAM, [CODEC.encode(Paid(0)) for _ in range(60)])
    loans: sync.Repository[Any, Loan] = sync.Repository(store, CODEC, RULE, snapshots=hw.SnapshotEvery(events=50))
    assert loans.load(STREAM).replayed == 60
    loans.settle()
    assert loans.load(STREAM).replayed == 0


def test_boundaries(store: sync.EventStore) -> None:
    boundary = sync.Boundary(store, courses.CODEC)
    facts = {"capacity": courses.capacity("c1")}
    boundary.execute(facts, lambda model: [courses.CourseDefined("c1", 3)], id="define-1")
    assert boundary.execute(facts, lambda model: [courses.CourseDefined("c1", 9)], id="define-1").duplicate
    assert boundary.model(facts).facts.capacity == 3


def test_many_streams(store: sync.EventStore) -> None:
    accounts: sync.Repository[Any, int] = sync.Repository(store, bank.CODEC, bank.ACCOUNT)
    streams = {"source": (accounts, bank.ONE), "target": (accounts, bank.OTHER)}
    accounts.execute(bank.ONE, bank.Open(100))
    patient = hw.Retry(attempts=None, first=0.001, most=0.02)

    def move(number: int) -> bool:
        id = f"transfer-{number % 16}"
        try:
            done = sync.execute_all(streams, bank.transfer(10), id=id, retry=patient)
        except Refused:
            return False
        return not done["target"].duplicate

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(move, range(32))) == 10
    assert [accounts.load(each).state for each in (bank.ONE, bank.OTHER)] == [0, 100]
    with pytest.raises(hw.InvalidEvent, match="no streams"):
        sync.execute_all({}, bank.transfer(1))


def test_a_process_manager_that_is_a_plain_function(store: sync.EventStore) -> None:
    accounts: sync.Repository[Any, int] = sync.Repository(store, bank.CODEC, bank.ACCOUNT)
    accounts.execute(bank.ONE, bank.Open(100))
    asked = store.append("transfer-1", bank.CODEC.encode(bank.TransferRequested(bank.ONE, bank.OTHER, 60)))

    runs = 0

    def settle(event: hw.Event, reaction: sync.Reaction) -> None:
        nonlocal runs
        runs += 1
        streams = {"source": (accounts, bank.ONE), "target": (accounts, bank.OTHER)}
        sync.execute_all(streams, bank.transfer(event.data["amount"]), id=reaction.key)
        if runs == 1:
            raise ConnectionError("killed")

    requests = hw.Query([hw.QueryItem(types=["TransferRequested"])])
    with store.reactor("settling", settle, query=requests, retry=hw.Retry(first=0.001)) as settling:
        settling.wait_for(asked)
    assert (runs, [accounts.load(each).state for each in (bank.ONE, bank.OTHER)]) == (2, [40, 60])
    (cause,) = [str(event.id) for event in store.read("transfer-1")]
    assert [event.metadata["causation_id"] for event in store.read(bank.OTHER)] == [cause]


@pytest.mark.parametrize("name", ["Repository", "Boundary"])
def test_both_faces_have_one_signature(name: str) -> None:
    one, other = getattr(hw, name), getattr(sync, name)
    methods = {method for method in vars(one) if not method.startswith("_")}
    assert methods == {method for method in vars(other) if not method.startswith("_")}
    for method in methods:
        ours, theirs = (inspect.signature(getattr(kind, method)) for kind in (one, other))
        assert list(ours.parameters.values()) == list(theirs.parameters.values())


def test_both_faces_have_one_execute_all() -> None:
    ours, theirs = inspect.signature(hw.execute_all), inspect.signature(sync.execute_all)
    assert list(ours.parameters) == list(theirs.parameters)
    assert [each.default for each in ours.parameters.values()] == [each.default for each in theirs.parameters.values()]
