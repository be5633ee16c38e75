"""Version 2: appends to several streams, with the Python clients."""

from __future__ import annotations

import uuid

import pytest
from kurrentdbclient import AsyncKurrentDBClient, KurrentDBClient, NewEvent, NewEvents, StreamState
from kurrentdbclient.events import NewRecord, StreamStateCheck
from kurrentdbclient.exceptions import (
    ConsistencyChecksFailedError,
    MultiAppendToSameStreamError,
    NotFoundError,
    RecordMaxSizeExceededError,
    StreamTombstonedError,
    WrongCurrentVersionError,
)

from tests.server.conftest import events

NONE, ANY, EXISTS = StreamState.NO_STREAM, StreamState.ANY, StreamState.EXISTS


def new(stream: str, version: int | StreamState, given: list[NewEvent]) -> NewEvents:
    return NewEvents(stream, given, version)


def record(stream: str, kind: str = "A", id: uuid.UUID | None = None) -> NewRecord:
    return NewRecord(stream_name=stream, type=kind, data=b'{"a":1}', id=id or uuid.uuid4())


class TestAppendSession:
    def test_all_or_none(self, client: KurrentDBClient, stream: str) -> None:
        one, two = f"{stream}-one", f"{stream}-two"
        about = NewEvent("A", data=b'{"a":1}', metadata=b'{"user":"joe"}')
        position = client.multi_append_to_stream(events=[new(one, NONE, [about]), new(two, ANY, events("B", "C"))])
        assert client.get_stream(two)[-1].commit_position == position
        assert client.get_stream(one)[0].metadata == b'{"user":"joe"}'
        with pytest.raises(WrongCurrentVersionError) as wrong:
            client.multi_append_to_stream(events=[new(one, 0, events("D")), new(two, 0, events("E"))])
        assert (wrong.value.stream_name, wrong.value.expected_version, wrong.value.actual_version) == (two, 0, 1)
        assert client.get_current_version(one) == 0

    def test_again_is_a_retry(self, client: KurrentDBClient, stream: str) -> None:
        given = [new(f"{stream}-one", NONE, events("A")), new(f"{stream}-two", NONE, events("B"))]
        assert client.multi_append_to_stream(events=given) == client.multi_append_to_stream(events=given)

    def test_refusals(self, client: KurrentDBClient, stream: str) -> None:
        with pytest.raises(MultiAppendToSameStreamError):
            client.multi_append_to_stream(events=[new(stream, ANY, events("A")), new(stream, ANY, events("B"))])
        large = NewEvent("A", data=b"x" * 5_000_000, content_type="application/octet-stream")
        with pytest.raises(RecordMaxSizeExceededError):
            client.multi_append_to_stream(events=[new(stream, ANY, [large])])
        client.tombstone_stream(stream, current_version=ANY)
        with pytest.raises(StreamTombstonedError):
            client.multi_append_to_stream(events=[new(stream, ANY, events("A"))])


class TestAppendRecords:
    def test_checks_on_streams_that_are_not_written(self, client: KurrentDBClient, stream: str) -> None:
        rule, order = f"{stream}-rule", f"{stream}-order"
        client.append_to_stream(rule, current_version=NONE, events=events("R"))
        done = client.append_records([record(order)], checks=[StreamStateCheck(rule, 0), StreamStateCheck(order, NONE)])
        assert [(each.stream_name, each.stream_position) for each in done.stream_positions] == [(order, 0)]
        with pytest.raises(ConsistencyChecksFailedError) as failed:
            client.append_records(
                [record(order)],
                checks=[StreamStateCheck(rule, 3), StreamStateCheck(order, EXISTS), StreamStateCheck(order, NONE)],
            )
        failures = [
            (each.check_index, each.stream_state_failure.stream_name, each.stream_state_failure.actual_state)
            for each in failed.value.failures
            if each.stream_state_failure is not None
        ]
        assert failures == [(0, rule, 0), (2, order, 0)]
        assert client.get_current_version(order) == 0

    def test_again_is_a_retry_though_its_check_fails_by_now(self, client: KurrentDBClient, stream: str) -> None:
        given, checks = [record(stream), record(f"{stream}-2")], [StreamStateCheck(stream, NONE)]
        first = client.append_records(given, checks=checks)
        assert client.append_records(given, checks=checks) == first
        with pytest.raises(ConsistencyChecksFailedError):
            client.append_records([given[0], record(f"{stream}-2")], checks=checks)

    async def test_async(self, async_client: AsyncKurrentDBClient, stream: str) -> None:
        await async_client.multi_append_to_stream(events=[new(stream, NONE, events("A"))])
        await async_client.append_records([record(stream)], checks=[StreamStateCheck(stream, 0)])
        with pytest.raises(NotFoundError):
            await async_client.get_stream(f"{stream}-other")
        assert len(await async_client.get_stream(stream)) == 2
