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


@pytest.mark.parametrize("name", ["Repository", "Boundary"])
def test_both_faces_have_one_signature(name: str) -> None:
    one, other = getattr(hw, name), getattr(sync, name)
    methods = {method for method in vars(one) if not method.startswith("_")}
    assert methods == {method for method in vars(other) if not method.startswith("_")}
    for method in methods:
        ours, theirs = (inspect.signature(getattr(kind, method)) for kind in (one, other))
        assert list(ours.parameters.values()) == list(theirs.parameters.values())
