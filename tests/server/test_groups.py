"""Persistent subscriptions with the Python client."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from kurrentdbclient import KurrentDBClient, StreamState
from kurrentdbclient.exceptions import (
    AlreadyExistsError,
    GrpcDeadlineExceededError,
    InternalError,
    KurrentDBClientError,
    MaximumSubscriptionsReachedError,
    NotFoundError,
)

from headwater.testing.serving import ServerProcess
from tests.server.conftest import events

NONE, ANY = StreamState.NO_STREAM, StreamState.ANY


@pytest.fixture
def group() -> str:
    return f"group-{uuid.uuid4().hex[:8]}"


class TestManaging:
    def test_create_change_list_and_delete(self, client: KurrentDBClient, stream: str, group: str) -> None:
        client.create_subscription_to_stream(group, stream, message_timeout=5, max_retry_count=3)
        with pytest.raises(AlreadyExistsError):
            client.create_subscription_to_stream(group, stream)
        client.update_subscription_to_stream(group, stream, consumer_strategy="Pinned", max_retry_count=7)
        info = client.get_subscription_info(group, stream)
        assert (info.event_source, info.group_name, info.start_from) == (stream, group, "0")
        assert (info.consumer_strategy, info.max_retry_count, info.message_timeout) == ("Pinned", 7, 5.0)
        assert [each.group_name for each in client.list_subscriptions_to_stream(stream)] == [group]
        client.delete_subscription(group, stream)
        assert client.list_subscriptions_to_stream(stream) == []
        for attempt in (client.get_subscription_info, client.delete_subscription):
            with pytest.raises(NotFoundError):
                attempt(group, stream)
        with pytest.raises(NotFoundError):
            client.read_subscription_to_stream(group, stream)

    def test_settings_that_contradict_each_other(self, client: KurrentDBClient, stream: str, group: str) -> None:
        with pytest.raises(InternalError):
            client.create_subscription_to_stream(group, stream, history_buffer_size=100)
        with pytest.raises(InternalError):
            client.create_subscription_to_stream(group, stream, consumer_strategy="Guess")  # type: ignore[arg-type]

    def test_too_many_consumers(self, client: KurrentDBClient, stream: str, group: str) -> None:
        client.create_subscription_to_stream(group, stream, max_subscriber_count=1)
        with client.read_subscription_to_stream(group, stream), pytest.raises(MaximumSubscriptionsReachedError):
            client.read_subscription_to_stream(group, stream)

    def test_consumers_of_a_group_that_goes_are_told(self, client: KurrentDBClient, stream: str, group: str) -> None:
        client.create_subscription_to_stream(group, stream)
        subscription = client.read_subscription_to_stream(group, stream)
        client.delete_subscription(group, stream)
        with pytest.raises(KurrentDBClientError, match="dropped"):
            list(subscription)


class TestConsuming:
    def test_each_event_once_and_on_from_there(self, client: KurrentDBClient, stream: str, group: str) -> None:
        client.append_to_stream(stream, current_version=NONE, events=events("A", "B", "C"))
        client.create_subscription_to_stream(group, stream, stream_position=1)
        with client.read_subscription_to_stream(group, stream) as subscription:
            for expected in "BC":
                event = next(subscription)
                assert (event.type, event.retry_count) == (expected, 0)
                subscription.ack(event)
        client.append_to_stream(stream, current_version=2, events=events("D"))
        with client.read_subscription_to_stream(group, stream) as subscription:
            assert next(subscription).type == "D"

    def test_what_was_not_acknowledged_comes_again(self, client: KurrentDBClient, stream: str, group: str) -> None:
        client.append_to_stream(stream, current_version=NONE, events=events("A", "B"))
        client.create_subscription_to_stream(group, stream)
        with client.read_subscription_to_stream(group, stream) as subscription:
            assert [next(subscription).type, next(subscription).type] == ["A", "B"]
        with client.read_subscription_to_stream(group, stream) as subscription:
            assert [next(subscription).type, next(subscription).type] == ["A", "B"]

    def test_retried_then_parked_then_replayed(self, client: KurrentDBClient, stream: str, group: str) -> None:
        client.append_to_stream(stream, current_version=NONE, events=events("A", "B"))
        client.create_subscription_to_stream(group, stream, max_retry_count=2)
        with client.read_subscription_to_stream(group, stream, max_ack_batch_size=1) as subscription:
            seen = []
            for event in subscription:
                seen.append((event.type, event.retry_count))
                if event.type == "A":
                    subscription.nack(event, "retry")
                else:
                    subscription.ack(event)
                if ("A", 2) in seen and ("B", 0) in seen:
                    break
            assert sorted(seen) == [("A", 0), ("A", 1), ("A", 2), ("B", 0)]
            _eventually(lambda: client.get_subscription_info(group, stream).parked_message_count == 1)
            (link,) = client.get_stream(f"$persistentsubscription-{stream}::{group}-parked")
            assert (link.type, link.data.decode()) == ("$>", f"0@{stream}")
            client.replay_parked_events(group, stream)
            event = next(subscription)
            assert (event.type, event.retry_count) == ("A", 0)
            subscription.ack(event)
            _eventually(lambda: client.get_subscription_info(group, stream).parked_message_count == 0)

    @pytest.mark.parametrize(("action", "parked"), [("skip", 0), ("park", 1)])
    def test_skipped_and_parked_at_once(
        self, client: KurrentDBClient, stream: str, group: str, action: str, parked: int
    ) -> None:
        client.append_to_stream(stream, current_version=NONE, events=events("A", "B"))
        client.create_subscription_to_stream(group, stream)
        with client.read_subscription_to_stream(group, stream) as subscription:
            subscription.nack(next(subscription), action)  # type: ignore[arg-type]
            subscription.ack(next(subscription))
        _eventually(lambda: client.get_subscription_info(group, stream).parked_message_count == parked)
        with client.read_subscription_to_stream(group, stream) as subscription:
            client.append_to_stream(stream, current_version=1, events=events("C"))
            assert next(subscription).type == "C"

    def test_an_answer_that_does_not_come_in_time(self, client: KurrentDBClient, stream: str, group: str) -> None:
        client.append_to_stream(stream, current_version=NONE, events=events("A"))
        client.create_subscription_to_stream(group, stream, message_timeout=1)
        with client.read_subscription_to_stream(group, stream) as subscription:
            assert [next(subscription).retry_count, next(subscription).retry_count] == [0, 1]

    def test_consumers_that_come_as_others_go(self, client: KurrentDBClient, stream: str, group: str) -> None:
        client.append_to_stream(stream, current_version=NONE, events=events(*["A"] * 60))
        client.create_subscription_to_stream(group, stream)
        seen: set[int] = set()

        def consume(_: int) -> None:
            while len(seen) < 60:
                with (
                    contextlib.suppress(GrpcDeadlineExceededError),  # the last events are in the others' hands
                    client.read_subscription_to_stream(group, stream, event_buffer_size=1, timeout=2) as subscription,
                ):
                    event = next(subscription)
                    subscription.ack(event)
                    seen.add(event.stream_position)

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(consume, range(3)))
        assert len(seen) == 60

    def test_to_all_filtered(self, client: KurrentDBClient, stream: str, group: str) -> None:
        kind = uuid.uuid4().hex
        client.create_subscription_to_all(group, from_end=True, filter_include=[kind])
        client.append_to_stream(stream, current_version=NONE, events=events("A", kind, "B", kind))
        with client.read_subscription_to_all(group) as subscription:
            for position in (1, 3):
                event = next(subscription)
                assert event.stream_position == position
                subscription.ack(event)

    def test_to_a_category(self, client: KurrentDBClient, stream: str, group: str) -> None:
        category = stream.partition("-")[0]
        client.append_to_stream(stream, current_version=NONE, events=events("A", "B"))
        client.create_subscription_to_stream(group, f"$ce-{category}", resolve_links=True)
        with client.read_subscription_to_stream(group, f"$ce-{category}") as subscription:
            for expected in "AB":
                event = next(subscription)
                assert (event.type, event.stream_name) == (expected, stream)
                subscription.ack(event)
        client.append_to_stream(stream, current_version=1, events=events("C"))
        with client.read_subscription_to_stream(group, f"$ce-{category}") as subscription:
            assert next(subscription).type == "C"

    def test_dealt_in_turn(self, client: KurrentDBClient, stream: str, group: str) -> None:
        client.create_subscription_to_stream(group, stream, consumer_strategy="RoundRobin")
        with (
            client.read_subscription_to_stream(group, stream) as one,
            client.read_subscription_to_stream(group, stream) as two,
        ):
            client.append_to_stream(stream, current_version=NONE, events=events("A", "B", "C", "D"))
            seen = [(next(one).type, next(two).type) for _ in range(2)]
        assert sorted(each for pair in seen for each in pair) == ["A", "B", "C", "D"]

    def test_pinned_to_one_consumer(self, client: KurrentDBClient, stream: str, group: str) -> None:
        category = stream.partition("-")[0]
        client.create_subscription_to_stream(group, f"$ce-{category}", consumer_strategy="Pinned", resolve_links=True)
        seen: dict[str, set[int]] = {}
        with (
            client.read_subscription_to_stream(group, f"$ce-{category}") as one,
            client.read_subscription_to_stream(group, f"$ce-{category}") as two,
        ):
            for number in range(20):
                client.append_to_stream(f"{category}-{number}", current_version=NONE, events=events("A", "B", "C"))
            _eventually(lambda: client.get_subscription_info(group, f"$ce-{category}").total_in_flight_messages == 60)
            held = [
                each.in_flight_messages for each in client.get_subscription_info(group, f"$ce-{category}").connections
            ]
            for number, subscription in enumerate((one, two)):
                for _ in range(held[number]):
                    seen.setdefault(next(subscription).stream_name, set()).add(number)
        assert len(seen) == 20
        assert all(len(owners) == 1 for owners in seen.values())
        assert min(held) > 0


class TestAcrossARestart:
    def test_a_group_goes_on_where_it_was(self, start: Callable[..., ServerProcess], group: str) -> None:
        server = start()
        with KurrentDBClient(server.url) as client:
            client.append_to_stream("order-1", current_version=NONE, events=events("A", "B", "C"))
            client.create_subscription_to_stream(group, "order-1")
            with client.read_subscription_to_stream(group, "order-1") as subscription:
                subscription.ack(next(subscription))
                subscription.nack(next(subscription), "park")
            _eventually(lambda: client.get_subscription_info(group, "order-1").parked_message_count == 1)
        server.stop()
        with KurrentDBClient(start().url) as client:
            client.replay_parked_events(group, "order-1")
            with client.read_subscription_to_stream(group, "order-1") as subscription:
                seen = []
                for _ in range(2):
                    event = next(subscription)
                    seen.append(event.type)
                    subscription.ack(event)
        assert sorted(seen) == ["B", "C"]


def _eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)
