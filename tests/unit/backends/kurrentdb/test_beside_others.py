"""A store in KurrentDB beside other clients of it and other processes; answers that do not come; indexes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kurrentdbclient import KurrentDBClient, NewEvent, StreamState
from kurrentdbclient.exceptions import ServiceUnavailableError
from tests.services.kurrentdb import Serve

import headwater as hw
from headwater.backends.kurrentdb import KurrentDBBackend
from headwater.errors import CorruptStore, InvalidEvent, StoreUnavailable
from headwater.limits import Limits
from headwater.store import EventStore

ANY = StreamState.ANY


@pytest.fixture
def url(serve: Serve) -> str:
    return serve("memory:")


@pytest.fixture
async def store(url: str) -> AsyncIterator[EventStore]:
    async with hw.connect(url) as opened:
        yield opened


@pytest.fixture
def other(url: str) -> Iterator[KurrentDBClient]:
    with KurrentDBClient(url) as client:
        yield client


def loan(kind: str = "LoanRequested") -> hw.NewEvent:
    return hw.NewEvent(kind, {"amount": 20000}, tags=["applicant:112"], metadata={"user": "joe"})


class TestOtherClients:
    async def test_see_events_as_they_are(self, store: EventStore, other: KurrentDBClient) -> None:
        event = loan()
        done = await store.append("loan-1", [event])
        (seen,) = other.get_stream("loan-1")
        assert (seen.type, seen.data, seen.id) == ("LoanRequested", b'{"amount":20000}', event.id)
        assert (seen.stream_position, seen.commit_position) == (0, done.position)

    async def test_append_between_ours(self, store: EventStore, other: KurrentDBClient) -> None:
        await store.append("loan-1", [loan()])
        theirs = NewEvent("LoanChecked", data=b'{"by": "them"}', metadata=b'{"$correlationId":"7"}')
        other.append_to_stream("loan-1", current_version=0, events=theirs)
        with pytest.raises(hw.WrongExpectedVersion) as refused:
            await store.append("loan-1", [loan()], expected=1)
        assert refused.value.actual == 2
        assert (await store.append("loan-1", [loan("LoanGranted")], expected=2)).version == 3
        events = [event async for event in store.read("loan-1")]
        assert [(each.version, each.type) for each in events] == [
            (1, "LoanRequested"),
            (2, "LoanChecked"),
            (3, "LoanGranted"),
        ]
        assert (events[1].data, events[1].metadata) == ({"by": "them"}, {"$correlationId": "7"})

    async def test_give_one_id_to_several_streams(self, store: EventStore, other: KurrentDBClient) -> None:
        theirs = NewEvent("A", data=b"not JSON")
        for stream in ("order-1", "order-2"):
            other.append_to_stream(stream, current_version=ANY, events=theirs)
        await store.append("loan-1", [loan()])
        assert [event.stream async for event in store.read_all()] == ["order-1", "order-2", "loan-1"]

    async def test_take_a_stream_away(self, store: EventStore, other: KurrentDBClient) -> None:
        await store.append("loan-1", [loan()])
        other.tombstone_stream("loan-1", current_version=ANY)
        with pytest.raises(hw.StreamDeleted):
            await store.append("loan-1", [loan()])
        await store.append("loan-2", [loan()])
        other.delete_stream("loan-2", current_version=ANY)
        assert (await store.append("loan-2", [loan()])).version == 2
        assert (await store.append("loan-3", [loan()])).version == 1

    @pytest.mark.parametrize("name", ["_headwater.commits", "$$loan-1", "$ce-loan", "$streams"])
    async def test_names_that_are_kept(self, store: EventStore, name: str) -> None:
        with pytest.raises(InvalidEvent, match="kept by KurrentDB"):
            await store.append(name, [loan()])


class TestAnswersThatDoNotCome:
    @pytest.mark.parametrize("done", [True, False], ids=["after it was done", "before"])
    async def test_an_append_is_made_once(self, store: EventStore, monkeypatch: pytest.MonkeyPatch, done: bool) -> None:
        backend = store._backend
        assert isinstance(backend, KurrentDBBackend)
        client = backend._home.client
        append: Callable[..., Any] = client.append_records
        failures = iter([True])

        def broken(*arguments: Any, **how: Any) -> Any:
            if next(failures, False):
                if done:
                    append(*arguments, **how)
                raise ServiceUnavailableError("the connection broke")
            return append(*arguments, **how)

        monkeypatch.setattr(client, "append_records", broken)
        result = await store.append("loan-1", [loan()], expected=hw.NO_STREAM)
        events = [event async for event in store.read_all()]
        assert [(each.version, each.position) for each in events] == [(1, result.position)]


class TestIndexes:
    async def test_kept_and_gone_on_with(self, url: str, tmp_path: Path) -> None:
        kept = f"{url}&index={tmp_path}/index.db"
        async with hw.connect(kept) as store:
            await store.append("loan-1", [loan(), loan()])
            identity = store.identity
        async with hw.connect(url) as elsewhere:
            await elsewhere.append("loan-1", [loan()])
        async with hw.connect(kept) as store:
            assert store.identity == identity
            assert [event.version async for event in store.read("loan-1")] == [1, 2, 3]

    async def test_of_another_store(self, url: str, serve: Serve, tmp_path: Path) -> None:
        async with hw.connect(f"{url}&index={tmp_path}/index.db"):
            pass
        with pytest.raises(CorruptStore, match="it is the index of the store"):
            await hw.connect(f"{serve('memory:')}&index={tmp_path}/index.db")

    async def test_two_that_append_take_turns(self, url: str, tmp_path: Path) -> None:
        async with contextlib.AsyncExitStack() as opened:
            stores = [
                await opened.enter_async_context(hw.connect(f"{url}&index={tmp_path}/{number}.db"))
                for number in range(3)
            ]
            appends = [stores[n % 3].append(f"loan-{n % 5}", [loan()]) for n in range(150)]
            await asyncio.gather(*appends)
            for store in stores:
                await store.append("last-1", [loan()])
                versions = [event.version async for event in store.read("loan-0")]
                assert versions == list(range(1, 31))

    async def test_nothing_there(self, url: str) -> None:
        with pytest.raises(StoreUnavailable, match="holds no store"):
            await hw.connect(f"{url}&create=no")

    async def test_examined(self, url: str) -> None:
        async with hw.connect(url, limits=Limits()) as store:
            found = {each.subject: each for each in await store.examine()}
        assert found["index"].state == "well"
        assert "leader" in found["server"].finding
