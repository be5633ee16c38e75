"""One server deals a group at a time: consumers are sent to it, others take over, and who has lost a group knows it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import grpc
import msgspec
import pytest
from kurrentdbclient import AsyncKurrentDBClient, KurrentDBClient, StreamState
from kurrentdbclient.exceptions import KurrentDBClientError, NodeIsNotLeaderError

import headwater as hw
from headwater.backend import RecordChange
from headwater.server import KurrentServer, Settings
from headwater.server.kurrentdb.groups import lease as module
from headwater.server.kurrentdb.groups.lease import Held, Lease, Lost, Server, dismiss, place_of
from headwater.server.kurrentdb.refusals import Refused
from headwater.testing.serving import ServerProcess
from tests.server.conftest import events

ANY = StreamState.ANY
ONE, TWO = Server("one:1", "one", 2113), Server("two:1", "two", 2114)

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""The client's consumer complains when it is thrown away after it was refused."""

Start = Callable[..., ServerProcess]


@pytest.fixture(autouse=True)
def thrown_away() -> Iterator[None]:
    """So that it complains here, where that is left out."""
    yield
    gc.collect()


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def two(request: pytest.FixtureRequest, tmp_path: Path, start: Start) -> tuple[ServerProcess, ServerProcess]:
    """Two servers over one store."""
    sqlite = f"sqlite:///{tmp_path}/two.db"
    store = sqlite if request.param == "SQLite" else request.getfixturevalue("postgres_schema_url")
    return start(store=store), start(store=store)


def consumed(client: KurrentDBClient, most: int, seconds: float = 20.0) -> list[str]:
    """What a consumer gets and acknowledges, coming again where it is sent away."""
    seen: list[str] = []
    until = time.monotonic() + seconds
    while len(seen) < most and time.monotonic() < until:
        try:
            with client.read_subscription_to_stream("g", "order-1") as consumer:
                for event in consumer:
                    seen.append(event.type)
                    consumer.ack(event)
                    if len(seen) == most:
                        break
        except KurrentDBClientError:
            time.sleep(0.1)
    return seen


class TestTwoServers:
    def test_consumers_are_sent_to_the_one_that_deals(self, two: tuple[ServerProcess, ServerProcess]) -> None:
        one, other = two
        discovering = other.url.replace("kurrentdb://", "kurrentdb+discover://")
        with (
            KurrentDBClient(one.url) as first,
            KurrentDBClient(other.url) as second,
            KurrentDBClient(discovering) as third,
        ):
            first.append_to_stream("order-1", current_version=ANY, events=events("A", "B", "C", "D"))
            first.create_subscription_to_stream("g", "order-1")
            with first.read_subscription_to_stream("g", "order-1", event_buffer_size=2) as consumer:
                seen = [next(consumer)]
                with pytest.raises(NodeIsNotLeaderError) as refused:
                    second.read_subscription_to_stream("g", "order-1")
                assert (refused.value.host, refused.value.port) == ("127.0.0.1", one.port)
                with pytest.raises(NodeIsNotLeaderError):
                    second.replay_parked_events("g", "order-1")
                with third.read_subscription_to_stream("g", "order-1", event_buffer_size=2) as another:  # reconnects
                    seen += [next(another), next(consumer), next(another)]
                assert sorted(each.type for each in seen) == ["A", "B", "C", "D"]
        one.stop(), other.stop()

    def test_when_one_stops_another_takes_over_at_once(self, two: tuple[ServerProcess, ServerProcess]) -> None:
        one, other = two
        with KurrentDBClient(one.url) as first, KurrentDBClient(other.url) as second:
            first.append_to_stream("order-1", current_version=ANY, events=events("A", "B", "C"))
            first.create_subscription_to_stream("g", "order-1", max_checkpoint_count=1, min_checkpoint_count=1)
            with first.read_subscription_to_stream("g", "order-1") as consumer:
                consumer.ack(next(consumer))
                time.sleep(0.5)
                one.stop()
            began = time.monotonic()
            assert consumed(second, 2) == ["B", "C"]
            assert time.monotonic() - began < module.LEASE_SECONDS / 2
        other.stop()

    def test_what_is_deleted_at_one_ends_at_the_other(self, two: tuple[ServerProcess, ServerProcess]) -> None:
        one, other = two
        with KurrentDBClient(one.url) as first, KurrentDBClient(other.url) as second:
            first.create_subscription_to_stream("g", "order-1")
            with first.read_subscription_to_stream("g", "order-1") as consumer:
                second.delete_subscription("g", "order-1")
                began = time.monotonic()
                with pytest.raises(KurrentDBClientError, match="dropped"):
                    next(consumer)
                assert time.monotonic() - began < module.LEASE_SECONDS / 2
        one.stop(), other.stop()


def test_when_one_dies_another_takes_over_when_the_lease_runs_out(start: Start) -> None:
    one, other = start(), start()
    with KurrentDBClient(one.url) as first, KurrentDBClient(other.url) as second:
        first.append_to_stream("order-1", current_version=ANY, events=events("A", "B"))
        first.create_subscription_to_stream("g", "order-1")
        consumer = first.read_subscription_to_stream("g", "order-1")
        next(consumer)
        one.kill()
        with pytest.raises(NodeIsNotLeaderError):
            second.read_subscription_to_stream("g", "order-1")
        assert consumed(second, 2) == ["A", "B"]


def test_one_that_starts_where_another_died_goes_on_at_once(start: Start) -> None:
    one = start()
    with KurrentDBClient(one.url) as first:
        first.append_to_stream("order-1", current_version=ANY, events=events("A"))
        first.create_subscription_to_stream("g", "order-1")
        next(first.read_subscription_to_stream("g", "order-1"))
    port = one.port
    one.kill()
    again = start(port=port)
    with KurrentDBClient(again.url) as second:
        assert next(second.read_subscription_to_stream("g", "order-1")).type == "A"


def test_one_that_was_frozen_deals_nothing_more(start: Start) -> None:
    one, other = start(), start()
    with KurrentDBClient(one.url) as first, KurrentDBClient(other.url) as second:
        first.append_to_stream("order-1", current_version=ANY, events=events("A"))
        first.create_subscription_to_stream("g", "order-1", min_checkpoint_count=1, max_checkpoint_count=1)
        consumer = first.read_subscription_to_stream("g", "order-1")
        next(consumer)
        os.kill(one.pid, signal.SIGSTOP)
        try:
            assert consumed(second, 1) == ["A"]
            with second.read_subscription_to_stream("g", "order-1") as elsewhere:
                second.append_to_stream("order-1", current_version=ANY, events=events("B"))
                os.kill(one.pid, signal.SIGCONT)
                with pytest.raises(KurrentDBClientError):
                    next(consumer)  # not B
                assert next(elsewhere).type == "B"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGCONT)


@pytest.fixture
async def store() -> AsyncIterator[hw.EventStore]:
    async with hw.connect("memory:") as opened:
        yield opened


async def test_who_comes_back_while_a_server_stops_does_not_make_it_take_the_group_again(store: hw.EventStore) -> None:
    server = KurrentServer(store, Settings(port=0))
    await server.start()
    async with AsyncKurrentDBClient(server.url) as client:
        await client.create_subscription_to_all("g")
        consumer = await client.read_subscription_to_all("g")
        await server._groups.close(Refused(grpc.StatusCode.UNAVAILABLE, "the server is stopping"))
        with pytest.raises(KurrentDBClientError, match="stopping"):
            await anext(consumer)
        with pytest.raises(KurrentDBClientError, match="stopping"):
            await client.read_subscription_to_all("g")
    (record,) = await store._backend.load_records("kurrentdb/groups/")
    assert not msgspec.json.decode(record.value, type=Held).server
    await server.stop(0)


class TestALease:
    async def test_is_one_servers_until_it_is_released(self, store: hw.EventStore) -> None:
        one, two = Lease(store._backend, "g", ONE), Lease(store._backend, "g", TWO)
        assert await one.take() is None
        with pytest.raises(Refused) as refused:
            await two.take()
        assert ("leader-endpoint-host", "one") in refused.value.trailers
        await one.save(7)
        assert 0 < one.left() <= module.LEASE_SECONDS
        await one.save(8, release=True)
        assert one.left() <= 0
        assert await two.take() == 8

    async def test_of_who_gave_no_sign_of_life_is_taken_and_fences_him(
        self, store: hw.EventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "LEASE_SECONDS", 0.05)
        one, two = Lease(store._backend, "g", ONE), Lease(store._backend, "g", TWO)
        await one.take()
        await one.save(3)
        await asyncio.sleep(0.1)
        assert one.left() < 0  # he knows it himself
        assert await two.take() == 3
        with pytest.raises(Lost) as lost:
            await one.save(5)
        assert lost.value.refused is not None
        assert ("leader-endpoint-port", "2114") in lost.value.refused.trailers
        assert await place_of(store._backend, "g") == 3
        with pytest.raises(Lost):
            await one.save(5, release=True)

    async def test_nobody_took_that_ran_out_goes_on(
        self, store: hw.EventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "LEASE_SECONDS", 0.02)
        one = Lease(store._backend, "g", ONE)
        await one.take()
        await asyncio.sleep(0.05)
        await one.save(5)
        assert one.left() > 0

    async def test_is_taken_by_one_of_many(self, store: hw.EventStore) -> None:
        servers = [Lease(store._backend, "g", Server(str(each), "", each)) for each in range(10)]
        outcomes = await asyncio.gather(*[each.take() for each in servers], return_exceptions=True)
        assert len([each for each in outcomes if each is None]) == 1
        assert len([each for each in outcomes if isinstance(each, Refused)]) == 9

    async def test_knows_a_write_of_its_own_whose_answer_was_lost(self, store: hw.EventStore) -> None:
        one = Lease(store._backend, "g", ONE)
        await one.take()
        (record,) = await store._backend.load_records("kurrentdb/groups/g")
        await store._backend.save_records([RecordChange(record.name, record.value, record.revision)])
        await one.save(5)
        assert await place_of(store._backend, "g") == 5

    async def test_is_let_go_when_the_group_is_changed_and_the_place_stays(self, store: hw.EventStore) -> None:
        one, two = Lease(store._backend, "g", ONE), Lease(store._backend, "g", TWO)
        await one.take()
        await dismiss(store._backend, "g")
        with pytest.raises(Refused):  # until its holder has heard of it
            await two.take()
        with pytest.raises(Lost) as lost:
            await one.save(5)
        assert lost.value.refused is None
        await one.save(5, release=True)
        assert await two.take() == 5

    async def test_of_nobody_is_not_dismissed(self, store: hw.EventStore) -> None:
        await dismiss(store._backend, "g")
        assert not await store._backend.load_records("kurrentdb/groups/")

    async def test_survives_a_cancelled_caller(self, store: hw.EventStore) -> None:
        one = Lease(store._backend, "g", ONE)
        await one.take()
        saving = asyncio.create_task(one.save(4))
        await asyncio.sleep(0)
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)
        await one.save(5)
        (record,) = await store._backend.load_records("kurrentdb/groups/g")
        assert msgspec.json.decode(record.value, type=Held).place == 5
