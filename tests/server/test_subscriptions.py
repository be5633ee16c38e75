"""Catch-up subscriptions with both Python clients: from anywhere, live, filtered, with checkpoints; slow readers."""

from __future__ import annotations

import asyncio
import threading
import uuid

import pytest
from kurrentdbclient import AsyncKurrentDBClient, CaughtUp, Checkpoint, FellBehind, KurrentDBClient, StreamState
from kurrentdbclient.exceptions import GrpcDeadlineExceededError
from kurrentdbclient.streams import AsyncCatchupSubscription

from headwater.testing.serving import ServerProcess
from tests.server.conftest import events

NONE, ANY = StreamState.NO_STREAM, StreamState.ANY


class TestToStream:
    def test_what_is_there_then_what_comes(self, client: KurrentDBClient, stream: str) -> None:
        client.append_to_stream(stream, current_version=NONE, events=events("A", "B"))
        with client.subscribe_to_stream(stream, include_caught_up=True) as subscription:
            seen = [next(subscription) for _ in range(3)]
            assert [each.type for each in seen[:2]] == ["A", "B"]
            assert isinstance(seen[2], CaughtUp)
            assert seen[2].stream_position == 1
            client.append_to_stream(stream, current_version=1, events=events("C"))
            assert next(subscription).stream_position == 2

    def test_from_a_position_and_from_the_end(self, client: KurrentDBClient, stream: str) -> None:
        client.append_to_stream(stream, current_version=NONE, events=events("A", "B", "C"))
        with (
            client.subscribe_to_stream(stream, stream_position=0) as after,
            client.subscribe_to_stream(stream, from_end=True) as live,
        ):
            assert [next(after).type, next(after).type] == ["B", "C"]
            client.append_to_stream(stream, current_version=2, events=events("D"))
            assert next(after).type == next(live).type == "D"

    def test_a_stream_that_is_still_to_be(self, client: KurrentDBClient, stream: str) -> None:
        with client.subscribe_to_stream(stream) as subscription:
            client.append_to_stream(stream, current_version=NONE, events=events("A"))
            assert next(subscription).type == "A"

    def test_a_category(self, client: KurrentDBClient, stream: str) -> None:
        category = stream.partition("-")[0]
        client.append_to_stream(stream, current_version=NONE, events=events("A"))
        with client.subscribe_to_stream(f"$ce-{category}", resolve_links=True) as subscription:
            first = next(subscription)
            assert (first.stream_name, first.type) == (stream, "A")
            client.append_to_stream(f"{category}-2", current_version=NONE, events=events("B"))
            second = next(subscription)
            assert (second.stream_name, second.type) == (f"{category}-2", "B")
        assert first.link is not None
        with client.subscribe_to_stream(
            f"$ce-{category}", stream_position=first.link.stream_position, resolve_links=True
        ) as resumed:
            assert next(resumed).id == second.id

    def test_a_deadline(self, client: KurrentDBClient, stream: str) -> None:
        with pytest.raises(GrpcDeadlineExceededError):
            list(client.subscribe_to_stream(stream, timeout=0.5))


class TestToAll:
    def test_from_a_saved_position(self, client: KurrentDBClient, stream: str) -> None:
        position = client.append_to_stream(stream, current_version=NONE, events=events("A"))
        client.append_to_stream(stream, current_version=0, events=events("B"))
        with client.subscribe_to_all(commit_position=position) as subscription:
            assert next(subscription).type == "B"

    def test_filtered_with_checkpoints(self, client: KurrentDBClient, stream: str) -> None:
        kind = uuid.uuid4().hex
        for _ in range(5):
            client.append_to_stream(stream, current_version=ANY, events=events(*["X"] * 100))
        position = client.append_to_stream(stream, current_version=ANY, events=events(kind))
        with client.subscribe_to_all(
            filter_include=[kind], include_checkpoints=True, include_caught_up=True, window_size=10
        ) as subscription:
            seen = []
            for each in subscription:
                seen.append(each)
                if isinstance(each, CaughtUp):
                    break
            assert [each.type for each in seen if not isinstance(each, Checkpoint | CaughtUp)] == [kind]
            checkpoints = [each.commit_position for each in seen if isinstance(each, Checkpoint)]
            assert checkpoints == sorted(checkpoints)
            assert checkpoints[-1] >= position
            client.append_to_stream(stream, current_version=ANY, events=events(kind))
            with client.subscribe_to_all(commit_position=checkpoints[-1], filter_include=[kind]) as resumed:
                assert next(resumed).stream_position == 501

    def test_stopped_by_the_reader(self, client: KurrentDBClient) -> None:
        subscription = client.subscribe_to_all()
        threading.Timer(0.3, subscription.stop).start()
        for _ in subscription:
            pass

    async def test_many_readers_see_all_in_order(self, async_client: AsyncKurrentDBClient, stream: str) -> None:
        readers, total = 30, 200

        async def read() -> list[int]:
            subscription = await async_client.subscribe_to_stream(stream)
            seen = []
            async with subscription:
                async for event in subscription:
                    seen.append(event.stream_position)
                    if len(seen) == total:
                        return seen
            return seen

        reading = [asyncio.create_task(read()) for _ in range(readers)]
        for _ in range(total // 10):
            await async_client.append_to_stream(stream, current_version=ANY, events=events(*["A"] * 10))
        assert await asyncio.gather(*reading) == [list(range(total))] * readers

    @pytest.mark.parametrize("source", ["stream", "category", "all"])
    def test_a_reader_that_falls_behind_is_told(self, client: KurrentDBClient, stream: str, source: str) -> None:
        told = {"include_caught_up": True, "include_fell_behind": True}
        category = f"$ce-{stream.partition('-')[0]}"
        with (
            client.subscribe_to_stream(stream, from_end=True, **told)
            if source == "stream"
            else client.subscribe_to_stream(category, from_end=True, resolve_links=True, **told)
            if source == "category"
            else client.subscribe_to_all(from_end=True, **told)
        ) as subscription:
            assert isinstance(next(subscription), CaughtUp)
            for _ in range(60):  # while it does not read: more than is kept in memory and on the way
                client.append_to_stream(stream, current_version=ANY, events=events("A", data=b"x" * 1_000_000))
            seen = [next(subscription)]
            while not isinstance(seen[-1], CaughtUp):
                seen.append(next(subscription))
            fell = next(each for each in seen if isinstance(each, FellBehind))
            at = seen.index(fell)
            assert len([each for each in seen if isinstance(each, FellBehind)]) == 1
            assert 0 < at < 50
            before = seen[at - 1]
            if source == "stream":
                assert fell.stream_position == before.stream_position == at - 1
            elif source == "all":
                assert fell.commit_position == before.commit_position
            revisions = [each.stream_position for each in seen if not isinstance(each, FellBehind | CaughtUp)]
            assert revisions == list(range(60))  # nothing is missing, and nothing comes twice

    @pytest.mark.parametrize("late", [False, True], ids=["live", "catching up"])
    async def test_a_reader_that_does_not_read_costs_no_memory(
        self, server: ServerProcess, async_client: AsyncKurrentDBClient, stream: str, late: bool
    ) -> None:
        position = await async_client.get_commit_position()
        before = _resident(server.pid)
        sleeping: list[AsyncCatchupSubscription] = []

        async def sleep_over_it() -> None:
            for _ in range(20):
                sleeping.append(await async_client.subscribe_to_all(commit_position=position))

        if not late:
            await sleep_over_it()
        for _ in range(40):
            await async_client.append_to_stream(stream, current_version=ANY, events=events("A", data=b"x" * 1_000_000))
        if late:
            await sleep_over_it()
            await asyncio.sleep(1)
        assert _resident(server.pid) - before < 250_000_000  # 20 readers, 40 MB written: not 800 MB
        await asyncio.gather(*[each.stop() for each in sleeping])


def _resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096
