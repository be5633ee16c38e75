"""What a server must bear: random bytes, broken messages, floods, slow senders. Clear statuses, no crash, no growth."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest

from headwater.server.kurrentdb.messages import message
from headwater.testing.serving import ServerProcess

STREAMS = "/event_store.client.streams.Streams/"
GROUPS = "/event_store.client.persistent_subscriptions.PersistentSubscriptions/"


@pytest.fixture
async def channel(server: ServerProcess) -> AsyncIterator[grpc.aio.Channel]:
    """Bytes in, bytes out: no client's library between."""
    options = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as opened:
        yield opened


async def _refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _drained(call)
    return refused.value


async def _drained(call: Any) -> None:
    if not hasattr(call, "__aiter__"):
        await call
        return
    async for _ in call:
        pass


async def _is_well(channel: grpc.aio.Channel) -> bool:
    raw = await channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
    return bool(message("grpc.health.v1.HealthCheckResponse").FromString(raw).status == 1)


class TestMessages:
    @pytest.mark.parametrize("raw", [b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", b"\x08", os.urandom(1000)])
    async def test_what_no_definition_allows(self, channel: grpc.aio.Channel, raw: bytes) -> None:
        for call in (
            channel.unary_stream(STREAMS + "Read")(raw),
            channel.stream_unary(STREAMS + "Append")(iter([raw])),
            channel.unary_unary(STREAMS + "Delete")(raw),
            channel.stream_stream(STREAMS + "BatchAppend")(iter([raw])),
            channel.unary_unary(GROUPS + "Create")(raw),
            channel.stream_stream(GROUPS + "Read")(iter([raw])),
            channel.unary_unary("/kurrentdb.protocol.v2.streams.StreamsService/AppendRecords")(raw),
        ):
            assert (await _refused(call)).code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED)
        assert await _is_well(channel)

    async def test_empty_ones(self, channel: grpc.aio.Channel) -> None:
        for call, codes in (
            (channel.unary_stream(STREAMS + "Read")(b""), {"INVALID_ARGUMENT"}),
            (channel.stream_unary(STREAMS + "Append")(iter([])), {"INVALID_ARGUMENT"}),
            (channel.stream_unary(STREAMS + "Append")(iter([b""])), {"INVALID_ARGUMENT"}),
            (channel.unary_unary(STREAMS + "Tombstone")(b""), {"INVALID_ARGUMENT"}),
            (channel.unary_unary(GROUPS + "Create")(b""), {"INVALID_ARGUMENT"}),
            (channel.unary_unary(GROUPS + "GetInfo")(b""), {"INVALID_ARGUMENT"}),
            (channel.stream_stream(GROUPS + "Read")(iter([])), {"INVALID_ARGUMENT"}),
            (
                channel.stream_unary("/kurrentdb.protocol.v2.streams.StreamsService/AppendSession")(iter([])),
                {"FAILED_PRECONDITION"},
            ),
        ):
            assert (await _refused(call)).code().name in codes

    async def test_larger_than_a_message_may_be(self, channel: grpc.aio.Channel) -> None:
        refused = await _refused(channel.stream_unary(STREAMS + "Append")(iter([b"\x00" * 50_000_000])))
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await _is_well(channel)

    async def test_an_append_that_does_not_end(self, server: ServerProcess) -> None:
        request = message("event_store.client.streams.AppendReq")
        options = request()
        options.options.stream_identifier.stream_name = b"endless-1"
        options.options.any.SetInParent()
        event = request()
        event.proposed_message.id.string = "00000000-0000-4000-8000-000000000001"
        event.proposed_message.metadata.update({"type": "A", "content-type": "application/octet-stream"})
        event.proposed_message.data = b"x" * 1_000_000

        def flood() -> Iterator[bytes]:
            yield options.SerializeToString()
            for _ in range(200):
                yield event.SerializeToString()

        def send() -> None:
            with grpc.insecure_channel(f"127.0.0.1:{server.port}") as blocking:
                blocking.stream_unary(STREAMS + "Append")(flood())

        before = _resident(server.pid)
        with pytest.raises(grpc.RpcError) as refused:
            await asyncio.to_thread(send)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert ("exception", "maximum-append-size-exceeded") in tuple(refused.value.trailing_metadata())
        assert _resident(server.pid) - before < 100_000_000

    async def test_names_that_can_not_be(self, channel: grpc.aio.Channel) -> None:
        for name in (b"", b"\xff\xfe", b"a\x00b", b"x" * 600, b"a\nb"):
            request = message("event_store.client.streams.ReadReq")()
            request.options.stream.stream_identifier.stream_name = name
            request.options.count = 1
            request.options.uuid_option.string.SetInParent()
            refused = await _refused(channel.unary_stream(STREAMS + "Read")(request.SerializeToString()))
            assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT, name

    async def test_an_expression_that_takes_for_ever(self, channel: grpc.aio.Channel) -> None:
        append = message("event_store.client.streams.BatchAppendReq")(is_final=True)
        append.correlation_id.string = "00000000-0000-4000-8000-000000000002"
        append.options.stream_identifier.stream_name = b"regex-1"
        append.options.any.SetInParent()
        event = append.proposed_messages.add(data=b"{}")
        event.id.string = "00000000-0000-4000-8000-000000000003"
        event.metadata.update({"type": "a" * 40 + "!", "content-type": "application/json"})
        async for _ in channel.stream_stream(STREAMS + "BatchAppend")(iter([append.SerializeToString()])):
            break
        request = message("event_store.client.streams.ReadReq")()
        request.options.all.start.SetInParent()
        request.options.count = 10
        request.options.uuid_option.string.SetInParent()
        request.options.filter.event_type.regex = r"^(?:(a|a)+)+$"
        request.options.filter.max = 32
        began = time.monotonic()
        refused = await _refused(channel.unary_stream(STREAMS + "Read")(request.SerializeToString()))
        assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "took longer" in (refused.details() or "")
        assert time.monotonic() - began < 2
        request.options.filter.event_type.regex = "("
        refused = await _refused(channel.unary_stream(STREAMS + "Read")(request.SerializeToString()))
        assert "can't be read" in (refused.details() or "")

    async def test_methods_that_are_not_there(self, channel: grpc.aio.Channel) -> None:
        for path, sentence in (
            ("/event_store.client.projections.Projections/Create", "headwater projections"),
            ("/event_store.client.users.Users/Create", "--users"),
            ("/no.such.Service/Method", "GetSupportedMethods"),
            ("/event_store.client.streams.Streams/Nothing", "GetSupportedMethods"),
        ):
            refused = await _refused(channel.unary_unary(path)(b""))
            assert refused.code() is grpc.StatusCode.UNIMPLEMENTED
            assert sentence in (refused.details() or "")

    async def test_features_are_those_that_work(self, channel: grpc.aio.Channel) -> None:
        raw = await channel.unary_unary("/event_store.client.server_features.ServerFeatures/GetSupportedMethods")(b"")
        supported = message("event_store.client.server_features.SupportedMethods").FromString(raw)
        names = {(each.service_name, each.method_name) for each in supported.methods}
        assert ("event_store.client.streams.streams", "batchappend") in names
        assert ("kurrentdb.protocol.v2.streams.streamsservice", "appendsession") in names
        assert not any("projections" in service for service, _ in names)
        assert all(each == each.lower() for pair in names for each in pair)


class TestConnections:
    @pytest.mark.parametrize(
        "first", [b"", os.urandom(400), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n"]
    )
    async def test_that_do_not_speak_the_protocol(
        self, server: ServerProcess, channel: grpc.aio.Channel, first: bytes
    ) -> None:
        opened = []
        for _ in range(50):
            connection = socket.create_connection(("127.0.0.1", server.port))
            connection.sendall(first)
            opened.append(connection)
        assert await _is_well(channel)
        for connection in opened:
            connection.close()
        assert await _is_well(channel)

    async def test_slow_ones_hold_nobody_up(self, server: ServerProcess, channel: grpc.aio.Channel) -> None:
        """Each sends the preface of HTTP/2, settings, and then a byte now and then."""
        opened = []
        for _ in range(100):
            connection = socket.create_connection(("127.0.0.1", server.port))
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04" + b"\x00" * 5)
            opened.append(connection)
        before = _resident(server.pid)
        for _ in range(5):
            for connection in opened:
                connection.sendall(b"\x00")
            began = time.monotonic()
            assert await _is_well(channel)
            assert time.monotonic() - began < 1
            await asyncio.sleep(0.05)
        assert _resident(server.pid) - before < 50_000_000
        for connection in opened:
            connection.close()

    async def test_calls_that_are_broken_off(self, server: ServerProcess, channel: grpc.aio.Channel) -> None:
        request = message("event_store.client.streams.ReadReq")()
        request.options.all.start.SetInParent()
        request.options.subscription.SetInParent()
        request.options.no_filter.SetInParent()
        request.options.uuid_option.string.SetInParent()
        raw = request.SerializeToString()

        async def broken_off() -> None:
            call = channel.unary_stream(STREAMS + "Read")(raw)
            await call.read()
            call.cancel()

        await asyncio.gather(*[broken_off() for _ in range(200)])
        before = _resident(server.pid)
        for _ in range(5):
            await asyncio.gather(*[broken_off() for _ in range(200)])
        assert _resident(server.pid) - before < 50_000_000
        assert await _is_well(channel)


def _resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096
