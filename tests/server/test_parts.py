"""Parts of the server by themselves: the end of the log, filters and what an index knows of them, who gets an event."""

from __future__ import annotations

import asyncio
import uuid

import pytest

import headwater as hw
from headwater.events import Event
from headwater.server import following as module
from headwater.server.following import Following, Stretch
from headwater.server.kurrentdb.filters import Source
from headwater.server.kurrentdb.groups.consumers import Consumer, Message, chosen, pinned
from headwater.server.kurrentdb.messages import message


def event(stream: str, position: int = 1, kind: str = "A") -> Event:
    return Event(position, stream, 1, uuid.uuid4().bytes, kind, b"{}", b"", (), "application/json", 0, None)


class TestFollowing:
    async def _collected(self, following: Following, total: int, pause: float = 0) -> list[int]:
        seen: list[int] = []
        async for stretch in following.stretches(0):
            seen += [each.position for each in stretch.events]
            await asyncio.sleep(pause)
            if len(seen) >= total:
                return seen
        return seen

    async def test_quick_and_slow_readers_see_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "KEPT_EVENTS", 20)
        monkeypatch.setattr(module, "PAGE_EVENTS", 7)
        async with hw.connect("memory:") as store:
            following = Following(store)
            reading = [asyncio.create_task(self._collected(following, 500, pause)) for pause in (0, 0, 0, 0.005, 0.01)]
            for number in range(100):
                await store.append(f"order-{number}", [hw.NewEvent("A", number) for _ in range(5)])
                await asyncio.sleep(0)
            assert await asyncio.gather(*reading) == [list(range(1, 501))] * 5
            await following.close()

    async def test_where_it_is_at_the_end(self) -> None:
        async with hw.connect("memory:") as store:
            following = Following(store)
            await store.append("order-1", hw.NewEvent("A", 1))
            stretches = following.stretches(0, hw.Query([hw.QueryItem(types=["B"])]))
            assert await anext(stretches) == Stretch([], 1, True, False)
            waiting = asyncio.ensure_future(anext(stretches))
            await asyncio.sleep(0.01)
            await store.append("order-1", hw.NewEvent("B", 2))
            stretch = await waiting
            assert ([each.type for each in stretch.events], *stretch[1:]) == (["B"], 2, True, True)
            waiting = asyncio.ensure_future(anext(stretches))
            await asyncio.sleep(0.01)
            await following.close()
            with pytest.raises(hw.StoreUnavailable, match="stopping"):
                await waiting


class TestFilters:
    @pytest.mark.parametrize(
        ("on_type", "expression", "prefixes", "query", "matches"),
        [
            (False, "", ("loan-",), hw.Query([hw.QueryItem(categories=["loan"])]), "loan-1"),
            (False, "", ("loan",), None, "loans-7"),
            (False, "", ("loan-1",), None, "loan-17"),
            (False, "", ("loan-", "order-"), hw.Query([hw.QueryItem(categories=["loan", "order"])]), "order-2"),
            (False, "^loan-", (), None, "loan-9"),
        ],
    )
    def test_what_an_index_knows(
        self, on_type: bool, expression: str, prefixes: tuple[str, ...], query: hw.Query | None, matches: str
    ) -> None:
        filter = Source(on_type, expression, prefixes, 1).filter()
        assert filter.query == query
        assert filter.matches(event(matches))
        assert not filter.matches(event("customer-1"))

    def test_a_type_by_its_name(self) -> None:
        filter = Source(True, "^LoanRequested$", (), 1).filter()
        assert filter.query == hw.Query([hw.QueryItem(types=["LoanRequested"])])
        assert Source(True, "^Loan.*$", (), 1).filter().query is None


class TestWhoGetsAnEvent:
    def test_in_turn(self) -> None:
        consumers = [Consumer(1, "", "", "") for _ in range(3)]
        for turn in range(3):
            found = chosen("RoundRobin", consumers, turn, event("a-1"))
            assert found is consumers[turn]
            found.give(uuid.uuid4(), Message(event("a-1")))
        assert chosen("RoundRobin", consumers, 0, event("a-1")) is None

    def test_to_one_until_it_is_full(self) -> None:
        consumers = [Consumer(2, "", "", "") for _ in range(2)]
        got = []
        for turn in range(4):
            found = chosen("DispatchToSingle", consumers, turn, event("a-1"))
            assert found is not None
            found.give(uuid.uuid4(), Message(event("a-1")))
            got.append(consumers.index(found))
        assert got == [0, 0, 1, 1]

    def test_pinned_keys_move_only_from_who_goes_or_to_who_comes(self) -> None:
        consumers = [Consumer(1, "", "", "") for _ in range(4)]
        keys = [f"order-{number}" for number in range(500)]
        before = {key: pinned(consumers, key) for key in keys}
        assert len({id(each) for each in before.values()}) == 4
        after = {key: pinned(consumers[1:], key) for key in keys}
        assert all(after[key] is before[key] for key in keys if before[key] is not consumers[0])

    def test_pinned_waits_for_its_own(self) -> None:
        consumers = [Consumer(1, "", "", "") for _ in range(3)]
        owner = chosen("Pinned", consumers, 0, event("a-1"))
        assert owner is not None
        owner.give(uuid.uuid4(), Message(event("a-1")))
        assert chosen("Pinned", consumers, 0, event("a-1")) is None


def test_our_messages_and_the_clients_are_told_apart() -> None:
    from kurrentdbclient.protos.v1 import streams_pb2

    ours = message("event_store.client.streams.ReadResp")
    assert ours is not streams_pb2.ReadResp
    assert ours.FromString(streams_pb2.ReadResp(last_stream_position=7).SerializeToString()).last_stream_position == 7
