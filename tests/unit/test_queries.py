"""Queries: what is well formed, and that their branches are the query."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headwater as hw
from headwater.events import Event, category_of
from headwater.queries import Branch, Query, QueryItem

STREAMS = ["loan-1", "loan-2", "offer-1", "offer"]
TYPES = ["A_SUBMITTED", "A_ACCEPTED", "O_SENT"]
TAGS = ["applicant:112", "officer:10862", "channel:web"]


def _event(stream: str | None, kind: str, tags: tuple[str, ...]) -> Event:
    return Event(1, stream, 1, uuid.UUID(int=1).bytes, kind, b"", b"", tags, "application/json", 0, None)


EVENTS = [
    _event(stream, kind, tags)
    for stream, kind in itertools.product([None, *STREAMS], TYPES)
    for count in range(4)
    for tags in itertools.combinations(TAGS, count)
]


def _in_branch(event: Event, branch: Branch) -> bool:
    category = category_of(event.stream) if event.stream is not None else None
    return (
        branch.tag in (None, *event.tags)
        and branch.stream in (None, event.stream)
        and branch.type in (None, event.type)
        and branch.category in (None, category)
        and (not branch.with_types or event.type in branch.with_types)
        and (not branch.with_streams or event.stream in branch.with_streams)
        and (not branch.with_categories or category in branch.with_categories)
        and set(branch.with_tags) <= set(event.tags)
    )


def _some(values: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), max_size=2)


_parts = st.tuples(_some(TYPES), _some(TAGS), _some(["loan", "offer"]), _some(STREAMS)).filter(any)


@given(st.lists(_parts, min_size=1, max_size=3))
def test_branches_are_the_query(items: list[tuple[Any, ...]]) -> None:
    """The branches of a query fit the same events as the query, and each has at most one leading key."""
    query = Query([QueryItem(*item) for item in items])
    branches = query.branches()
    for event in EVENTS:
        assert query.matches(event) == any(_in_branch(event, branch) for branch in branches)
    for branch in branches:
        leading = [branch.tag, branch.stream, branch.type, branch.category]
        assert sum(key is not None for key in leading) == 1


def test_all() -> None:
    assert all(Query.all().matches(event) for event in EVENTS)
    assert Query.all().branches() == [Branch()]
    assert repr(Query.all()) == "Query.all()"


def test_an_item_names_something() -> None:
    with pytest.raises(hw.InvalidQuery, match=r"Query\.all\(\)"):
        QueryItem()
    with pytest.raises(hw.InvalidQuery, match=r"Query\.all\(\)"):
        Query([])


@pytest.mark.parametrize("name", ["types", "tags", "categories", "streams"])
def test_values_are_lists_of_texts(name: str) -> None:
    with pytest.raises(hw.InvalidQuery, match=name):
        QueryItem(**{name: "A_SUBMITTED"})  # type: ignore[arg-type]  # on purpose
    with pytest.raises(hw.InvalidQuery, match=name):
        QueryItem(**{name: [7]})  # type: ignore[list-item]  # on purpose


def test_repeats_count_once() -> None:
    assert QueryItem(types=["a", "b", "a"]).types == ("a", "b")


def test_equality() -> None:
    one, same, other = (Query([QueryItem(types=["a"], tags=[tag])]) for tag in ("x", "x", "y"))
    assert one == same != other
    assert len({one, same, other}) == 2
    assert hw.AppendCondition(one, 3) == hw.AppendCondition(same, 3) != hw.AppendCondition(one, 4)
    assert len({hw.AppendCondition(one, 3), hw.AppendCondition(same, 3)}) == 1
    assert one != "a"


def test_shown_as_written() -> None:
    query = Query([QueryItem(types=["A_SUBMITTED"], tags=["applicant:112"])])
    shown = "Query(items=[QueryItem(types=['A_SUBMITTED'], tags=['applicant:112'])])"
    assert repr(query) == shown
    assert repr(hw.AppendCondition(query, 7)) == f"AppendCondition(fail_if_match={shown}, after=7)"


@pytest.mark.parametrize("after", [-1, 1.0, None, True, "3"])
def test_a_condition_needs_a_position(after: Any) -> None:
    with pytest.raises(hw.InvalidQuery, match="after"):
        hw.AppendCondition(Query.all(), after)


def test_a_condition_needs_a_query() -> None:
    with pytest.raises(hw.InvalidQuery, match="Give a Query"):
        hw.AppendCondition(QueryItem(types=["a"]))  # type: ignore[arg-type]  # on purpose


def test_expectations_show_their_names() -> None:
    assert [str(each) for each in (hw.ANY, hw.NO_STREAM, hw.STREAM_EXISTS)] == ["ANY", "NO_STREAM", "STREAM_EXISTS"]
    assert repr(hw.ANY) == "ANY"
