"""What can't be stored is refused, with the reason, before anything is written."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from headwater.errors import InvalidEvent, InvalidQuery, NotSupported, TooLarge
from headwater.events import NewEvent
from headwater.limits import Limits
from headwater.queries import AppendCondition, Query, QueryItem
from headwater.store import Append, EventStore
from headwater.testing.conformance.fixtures import OpenStore, StorePromises, history, whole_log
from headwater.testing.loans import CASE, loan

NAN, INFINITY = float("nan"), float("inf")

BAD_NAMES: list[Any] = ["", None, 7, b"loan-1", "loan\x00", "loan\n", "\x1f", "\x7f", "loan-\ud800"]

BAD_DATA: list[Any] = [
    NAN,
    [INFINITY],
    {"deep": {"er": [1, -INFINITY]}},
    {"a": None, "b": NAN},
    object(),
    {"of": {1: object()}},
    "\ud800",
    {"\udfff": 1},
    iter("ab"),
]

SMALL = Limits(
    event_bytes_max=100,
    metadata_bytes_max=50,
    stream_name_bytes_max=20,
    type_bytes_max=10,
    tag_bytes_max=10,
    tags_max=2,
    append_events_max=3,
    append_bytes_max=150,
    query_items_max=2,
    query_values_max=4,
)

OVER: list[tuple[str, str, list[NewEvent]]] = [
    ("event_bytes_max", CASE, [NewEvent("Noted", "x" * 99)]),
    ("event_bytes_max", CASE, [NewEvent("Noted", bytes(101), content_type="image/tiff")]),
    ("metadata_bytes_max", CASE, [NewEvent("Noted", 1, metadata={"a": "x" * 50})]),
    ("stream_name_bytes_max", "x" * 21, [NewEvent("Noted", 1)]),
    ("stream_name_bytes_max", "é" * 11, [NewEvent("Noted", 1)]),
    ("type_bytes_max", CASE, [NewEvent("x" * 11, 1)]),
    ("tag_bytes_max", CASE, [NewEvent("Noted", 1, tags=["x" * 11])]),
    ("tags_max", CASE, [NewEvent("Noted", 1, tags=["a", "b", "c"])]),
    ("append_events_max", CASE, [NewEvent("Noted", 1) for _ in range(4)]),
    ("append_bytes_max", CASE, [NewEvent("Noted", "x" * 90) for _ in range(2)]),
]
"""Limit, stream and events that are over it."""


class Refusals(StorePromises):
    """Arguments that can't be right."""

    @pytest.mark.parametrize("name", [*BAD_NAMES[2:], ""], ids=repr)
    async def test_stream_names(self, store: EventStore, name: Any) -> None:
        """An empty, unprintable or non-text stream name is refused, for writing and for reading."""
        with pytest.raises(InvalidEvent):
            await store.append(name, loan(1))
        with pytest.raises(InvalidEvent):
            await store.stream(name)
        with pytest.raises(InvalidEvent):
            await history(store, name)
        assert await whole_log(store) == []

    @pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
    async def test_types_and_tags_that_are_refused(self, store: EventStore, name: Any) -> None:
        """An empty, unprintable or non-text type or tag is refused."""
        for event in (NewEvent(name, {}), NewEvent("Noted", {}, tags=[name])):
            with pytest.raises(InvalidEvent):
                await store.append(CASE, [*loan(1), event])
        assert await whole_log(store) == []

    @pytest.mark.parametrize("data", BAD_DATA, ids=lambda data: f"{data!r:.20}")
    async def test_data(self, store: EventStore, data: Any) -> None:
        """Data that JSON can't hold (NaN, infinities, lone surrogates, objects) is refused, as metadata too."""
        for event in (NewEvent("Noted", data), NewEvent("Noted", {}, metadata={"value": data})):
            with pytest.raises(InvalidEvent):
                await store.append(CASE, [*loan(1), event])
        assert await whole_log(store) == []

    async def test_content_types(self, store: EventStore) -> None:
        """Bytes need a content type, and must be what it says where that is JSON; other data can't have another."""
        wrong = [
            NewEvent("Noted", b"{}"),
            NewEvent("Noted", b"{", content_type="application/json"),
            NewEvent("Noted", b'"\xff"', content_type="application/json"),
            NewEvent("Noted", b"NaN", content_type="text/x+json"),
            NewEvent("Noted", b"[" * 100_000, content_type="application/json"),
            NewEvent("Noted", {}, content_type="image/tiff"),
            NewEvent("Noted", b"", content_type=""),
        ]
        for event in wrong:
            with pytest.raises(InvalidEvent):
                await store.append(CASE, event)
        assert await whole_log(store) == []

    async def test_moments(self, store: EventStore) -> None:
        """A moment needs a time zone."""
        with pytest.raises(InvalidEvent, match="time zone"):
            await store.append(CASE, NewEvent("Noted", {}, occurred_at=datetime(2011, 10, 1)))

    async def test_lists_of_events(self, store: EventStore) -> None:
        """An append needs events: none at all, or something else, is refused."""
        nothing: list[NewEvent] = []
        for wrong in (nothing, "Noted", {"type": "Noted"}, [{"type": "Noted"}], iter(loan(1)), None):
            with pytest.raises(InvalidEvent):
                await store.append(CASE, wrong)  # type: ignore[arg-type]  # on purpose
        for appends in ([], [Append(CASE, [])], [Append(CASE, loan(1)), Append(CASE, loan(1))]):
            with pytest.raises(InvalidEvent):
                await store.append_all(appends)
        assert await whole_log(store) == []

    @pytest.mark.parametrize("expected", [-1, 1.0, "ANY", None, True, 2.5], ids=repr)
    async def test_expectations(self, store: EventStore, expected: Any) -> None:
        """An expectation is one of the three words, or a version from 0 up."""
        with pytest.raises(InvalidQuery):
            await store.append(CASE, loan(1), expected=expected)
        with pytest.raises(InvalidQuery):
            await store.delete_stream(CASE, expected=expected)
        assert await whole_log(store) == []

    async def test_no_stream(self, store: EventStore) -> None:
        """Events without a stream need tags, and can't expect a version."""
        with pytest.raises(InvalidEvent):
            await store.append(None, NewEvent("RateChanged", {}))
        with pytest.raises(InvalidEvent):
            await store.append(None, NewEvent("RateChanged", {}, tags=["product:car"]), expected=0)
        assert await whole_log(store) == []

    @pytest.mark.parametrize(("limit", "stream", "events"), OVER)
    async def test_over_a_limit(self, open_store: OpenStore, limit: str, stream: str, events: list[NewEvent]) -> None:
        """Over a limit: ``TooLarge`` names the limit, its value and the size; nothing is written."""
        async with open_store(SMALL) as store:
            with pytest.raises(TooLarge) as refused:
                await store.append(stream, events)
            assert (refused.value.limit, refused.value.most) == (limit, getattr(SMALL, limit))
            assert refused.value.size > refused.value.most
            assert await whole_log(store) == []

    async def test_at_the_limits(self, open_store: OpenStore) -> None:
        """Exactly at a limit is within it."""
        async with open_store(SMALL) as store:
            await store.append("x" * 20, NewEvent("x" * 10, "x" * 98, tags=["x" * 10, "y"]))
            await store.append("é" * 10, [NewEvent("Noted", 1)] + [NewEvent("Noted", "x" * 70) for _ in range(2)])
            assert len(await whole_log(store)) == 4

    async def test_several_streams_over_a_limit(self, open_store: OpenStore) -> None:
        """The limits of one append count over all its streams."""
        async with open_store(SMALL) as store:
            appends = [Append(f"loan-{number}", [NewEvent("Noted", 1)]) for number in range(4)]
            with pytest.raises(TooLarge):
                await store.append_all(appends)
            assert await whole_log(store) == []

    async def test_queries(self, open_store: OpenStore) -> None:
        """A query over its limits, or something else instead of one, is refused, in conditions too."""
        async with open_store(SMALL) as store:
            wide = Query([QueryItem(types=["a"]), QueryItem(types=["b"]), QueryItem(types=["c"])])
            many = Query([QueryItem(types=["a", "b", "c"], tags=["d", "e"])])
            for query in (wide, many):
                with pytest.raises(TooLarge):
                    await whole_log(store, query=query)
                with pytest.raises(TooLarge):
                    await store.append(CASE, loan(1)[:1], condition=AppendCondition(query))
            wrongs: list[Any] = ["A_SUBMITTED", QueryItem(types=["a"]), []]
            for wrong in wrongs:
                with pytest.raises(InvalidQuery):
                    await whole_log(store, query=wrong)

    @pytest.mark.parametrize("bounds", [{"after": -1}, {"before": -1}, {"limit": -1}, {"after": "1"}, {"limit": 1.5}])
    async def test_bounds_that_are_refused(self, store: EventStore, bounds: dict[str, Any]) -> None:
        """A bound that is no number from 0 up is refused."""
        with pytest.raises(InvalidQuery):
            await whole_log(store, **bounds)
        with pytest.raises(InvalidQuery):
            await history(store, CASE, **bounds)

    async def test_policies(self, store: EventStore) -> None:
        """A policy that makes no sense is refused."""
        await store.append(CASE, loan(2))
        wrong: list[dict[str, Any]] = [{"max_count": 0}, {"truncate_before": -1}, {"max_age": timedelta(0)}]
        wrong += [{"max_count": True}, {"max_count": "3"}, {"max_age": 60}, {"truncate_before": 1.5}]
        for policy in wrong:
            with pytest.raises(InvalidQuery):
                await store.set_policy(CASE, **policy)
        assert len(await history(store, CASE)) == 2

    async def test_ids(self, store: EventStore) -> None:
        """An id that is no UUID is refused."""
        with pytest.raises(InvalidEvent):
            await store.event("173688")

    async def test_caller_transaction(self, store: EventStore) -> None:
        """What is no connection of the backend's driver is refused; all are, by a backend without such transactions."""
        with pytest.raises(InvalidEvent if store.capabilities.caller_transaction else NotSupported):
            store.bind(object())
