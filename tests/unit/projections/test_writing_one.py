"""Projections and folds as users write them, and what they are told when they are wrong."""

from __future__ import annotations

from typing import Any

import pytest

import headwater as hw
from headwater.testing.loans import CASE, loan
from tests.unit.projections.conftest import Submitted


class Outcome(hw.Fold[dict[str, Any]]):
    """One handler changes the state, the other returns a new one."""

    def initial(self) -> dict[str, Any]:
        return {"steps": 0}

    @hw.handles("A_SUBMITTED")
    def submitted(self, event: hw.Event, state: dict[str, Any]) -> None:
        state["amount"] = event.data["amount"]

    @hw.handles("A_APPROVED", "A_DECLINED")
    def decided(self, event: hw.Event, state: dict[str, Any]) -> dict[str, Any]:
        return {**state, "outcome": event.type}

    @hw.handles()
    def happened(self, event: hw.Event, state: dict[str, Any]) -> None:
        state["steps"] += 1


async def test_a_fold_makes_a_value_of_a_stream(store: hw.EventStore) -> None:
    await store.append(CASE, loan())
    state = await hw.fold(Outcome(), store.read(CASE))
    assert state == {"steps": 26, "amount": 20000, "outcome": "A_APPROVED"}
    early = await hw.fold(Outcome(), store.read(CASE, limit=3))
    assert early == {"steps": 3, "amount": 20000}
    assert await hw.fold(Outcome(), store.read(CASE, after=3), early) == state


def test_the_query_is_that_of_the_handlers() -> None:
    assert Submitted().handlers.query() == hw.Query([hw.QueryItem(types=["A_SUBMITTED"])])
    assert Outcome().handlers.query() is None


def test_an_overridden_handler_stays_one() -> None:
    class Kept(Submitted):
        def submitted(self, event: hw.Event, view: hw.View) -> None:
            pass

    assert Kept().handlers.types == ["A_SUBMITTED"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "Case Times"}, "its name can't be kept"),
        ({"version": 0}, "its version is 0"),
        ({"tables": "create table cases (loan text)"}, "it declares no table"),
        ({"tables": "create table {cases} (loan text); create index i on {other} (loan)"}, "name {other}"),
        ({"tables": "create table {Cases} (loan text)"}, "name {Cases}"),
    ],
)
def test_a_projection_that_cannot_be_run_says_why(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(hw.InvalidProjection) as refused:
        type("Wrong", (Submitted,), changes)()
    assert says in str(refused.value)


def test_a_class_without_handlers_is_refused() -> None:
    class Empty(hw.Projection):
        name = "empty"
        tables = "create table {empty} (loan text)"

    with pytest.raises(hw.InvalidProjection, match="has no handlers"):
        Empty()
    with pytest.raises(hw.InvalidProjection, match="is not a type of event"):
        hw.handles(Submitted.submitted)  # type: ignore[arg-type]  # @hw.handles without brackets


@pytest.mark.parametrize(
    "url", ["memory:", "mysql://x", "sqlite:///", "sqlite:///a.db?color=red", "postgresql://h/d?schema=a-b"]
)
def test_a_target_that_cannot_be_is_refused(store: hw.EventStore, url: str) -> None:
    with pytest.raises(hw.BadUrl):
        hw.Projector(store, Submitted(), into=url)
