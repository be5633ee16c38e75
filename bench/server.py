"""The KurrentDB server: appends and reads by real clients, beside a bare echo on the same gRPC stack, and the library.

The echo is a process of its own that answers the same calls without keeping anything, so it shows what the protocol
costs in Python. Server, echo and client share the machine. ``server.py echo`` is that process.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
from kurrentdbclient import AsyncKurrentDBClient, NewEvent, StreamState

import headwater as hw
from headwater.server.kurrentdb.messages import message
from headwater.testing.serving import ServerProcess
from measuring import LOAN, Comparison, alternate, loan_event, show, workspace

REPEATS = 3
EVENTS = 20_000
DATA = json.dumps(LOAN).encode()
PACKAGE = "event_store.client.streams"
STREAMS = f"{PACKAGE}.Streams"
FEATURES = "event_store.client.server_features.ServerFeatures"
NODE = Path(__file__).parent.parent / ".cache" / "node"


async def echo() -> None:
    """Answer appends with success, and reads with so many events as are asked for."""
    request, response = message(f"{PACKAGE}.BatchAppendReq"), message(f"{PACKAGE}.BatchAppendResp")
    read, event = message(f"{PACKAGE}.ReadReq"), message(f"{PACKAGE}.ReadResp")

    async def append(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for each in requests:
            answer = response(correlation_id=each.correlation_id)
            answer.success.current_revision = 1
            answer.success.position.commit_position = answer.success.position.prepare_position = 1
            yield answer

    async def events(asked: Any, context: Any) -> AsyncIterator[Any]:
        for number in range(min(asked.options.count, EVENTS)):
            answer = event()
            answer.event.commit_position = number
            recorded = answer.event.event
            recorded.id.string = str(uuid.uuid4())
            recorded.stream_identifier.stream_name = b"loan-1"
            recorded.stream_revision = number
            recorded.prepare_position = recorded.commit_position = number
            recorded.metadata.update({"type": "A", "content-type": "application/json", "created": "17000000000000000"})
            recorded.data = DATA
            yield answer

    handlers = {
        "BatchAppend": grpc.stream_stream_rpc_method_handler(append, request.FromString, response.SerializeToString),
        "Read": grpc.unary_stream_rpc_method_handler(events, read.FromString, event.SerializeToString),
    }
    empty, features = message("event_store.client.Empty"), message(f"{FEATURES.rpartition('.')[0]}.SupportedMethods")

    async def supported(asked: Any, context: Any) -> Any:
        answer = features(event_store_server_version="26.1.0")
        answer.methods.add(method_name="batchappend", service_name=STREAMS.lower())
        return answer

    told = grpc.unary_unary_rpc_method_handler(supported, empty.FromString, features.SerializeToString)
    server = grpc.aio.server()
    for service, methods in ((STREAMS, handlers), (FEATURES, {"GetSupportedMethods": told})):
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"kurrentdb://127.0.0.1:{port}?tls=false", flush=True)
    await server.wait_for_termination()


async def flying(count: int, most: int, one: Callable[[int], Awaitable[object]]) -> float:
    """How many a second, with so many under way at a time."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await one(number)

    start = time.perf_counter()
    await asyncio.gather(*[work() for _ in range(most)])
    return count / (time.perf_counter() - start)


def appends(url: str, most: int, size: int = 1) -> Callable[[], float]:
    """Appends of so many events each, by the Python client for asyncio. It makes a call of each."""

    async def run() -> float:
        async with AsyncKurrentDBClient(url) as client:

            async def one(number: int) -> None:
                given = [NewEvent(type="A_SUBMITTED", data=DATA) for _ in range(size)]
                await client.append_to_stream(
                    f"loan-{uuid.uuid4().hex[:4]}", current_version=StreamState.ANY, events=given
                )

            return size * await flying(max(most * 8, 600 // size), most, one)

    return lambda: asyncio.run(run())


def multiplexed(url: str, most: int) -> Callable[[], float]:
    """Appends of single events on one BatchAppend call, as the clients of other languages send them."""
    request, response = message(f"{PACKAGE}.BatchAppendReq"), message(f"{PACKAGE}.BatchAppendResp")

    async def run() -> float:
        count, room = 4_000, asyncio.Semaphore(most)

        async def requests() -> AsyncIterator[bytes]:
            for number in range(count):
                await room.acquire()
                one = request(is_final=True)
                one.correlation_id.string = str(uuid.uuid4())
                one.options.stream_identifier.stream_name = f"loan-{number % 500}".encode()
                one.options.any.SetInParent()
                event = one.proposed_messages.add(data=DATA)
                event.id.string = str(uuid.uuid4())
                event.metadata.update({"type": "A_SUBMITTED", "content-type": "application/json"})
                yield one.SerializeToString()

        start = time.perf_counter()
        async with grpc.aio.insecure_channel(url.split("//")[1].split("?")[0]) as channel:
            async for raw in channel.stream_stream(f"/{STREAMS}/BatchAppend")(requests()):
                assert response.FromString(raw).WhichOneof("result") == "success"
                room.release()
        return count / (time.perf_counter() - start)

    return lambda: asyncio.run(run())


def reads(url: str, stream: str) -> Callable[[], float]:
    """Events a second that the Python client reads of a stream."""

    async def run() -> float:
        async with AsyncKurrentDBClient(url) as client:
            start = time.perf_counter()
            read = await client.get_stream(stream, limit=EVENTS)
            return len(read) / (time.perf_counter() - start)

    return lambda: asyncio.run(run())


def catch_up(url: str) -> Callable[[], float]:
    """Events a second that a subscription to ``$all`` gets which starts at the beginning."""

    async def run() -> float:
        async with AsyncKurrentDBClient(url) as client:
            subscription = await client.subscribe_to_all(filter_exclude=())
            start, got = time.perf_counter(), 0
            async with subscription:
                async for _ in subscription:
                    got += 1
                    if got == EVENTS:
                        break
            return EVENTS / (time.perf_counter() - start)

    return lambda: asyncio.run(run())


def library(folder: Path, most: int) -> Callable[[], float]:
    """The same appends without a server."""

    async def run() -> float:
        async with hw.connect(f"sqlite:///{folder}/{uuid.uuid4().hex}.db") as store:

            async def one(number: int) -> None:
                await store.append(f"loan-{uuid.uuid4().hex[:4]}", loan_event())

            return await flying(max(most * 20, 1_000), most, one)

    return lambda: asyncio.run(run())


def library_reads(folder: Path) -> Callable[[], float]:
    """The same reads without a server."""
    url = f"sqlite:///{folder}/read.db"

    async def run() -> float:
        async with hw.connect(url) as store:
            if await store.head() == 0:
                for _ in range(EVENTS // 1_000):
                    await store.append("loan-1", [loan_event() for _ in range(1_000)])
            start = time.perf_counter()
            read = [event async for event in store.read("loan-1")]
            return len(read) / (time.perf_counter() - start)

    return lambda: asyncio.run(run())


def by_node(url: str, what: str) -> Callable[[], float]:
    """What the Node client does a second: ``appends`` (256 in flight, on one call) or ``reads``."""
    shutil.copy(Path(__file__).parent / "server_node.js", NODE)

    def run() -> float:
        command = ["node", "server_node.js", url, what, str(EVENTS)]
        return float(subprocess.run(command, cwd=NODE, stdout=subprocess.PIPE, text=True, check=True).stdout)

    return run


async def fill(url: str) -> None:
    """A stream to read."""
    async with AsyncKurrentDBClient(url) as client:
        for _ in range(EVENTS // 1_000):
            given = [NewEvent(type="A_SUBMITTED", data=DATA) for _ in range(1_000)]
            await client.append_to_stream("loan-1", current_version=StreamState.ANY, events=given)


def compared(server: str, bare: str, folder: Path) -> list[Comparison]:
    """All comparisons."""
    found = []

    def add(
        case: str, ours: Callable[[], float], other: Callable[[], float], against: str, least: float | None
    ) -> None:
        found.append(Comparison(case, *alternate(REPEATS, ours, other), against, at_least=least))

    def against_echo(case: str, measure: Callable[..., Callable[[], float]], *how: object, least: float = 0.6) -> None:
        add(case, measure(server, *how), measure(bare, *how), "echo", least)

    for most in (1, 32, 256):
        against_echo(f"single appends, {most} in flight, Python client", appends, most)
    against_echo("appends of 100 events, 8 in flight, Python client", appends, 8, 100)
    against_echo("single appends on one BatchAppend call, 64 in flight", multiplexed, 64)
    against_echo("read a stream, Python client", reads, "loan-1", least=0.5)
    add("catch up with $all, Python client", catch_up(server), reads(bare, "loan-1"), "echo, read", 0.5)
    if (NODE / "node_modules").exists():
        against_echo("single appends, 256 in flight, Node client", by_node, "appends")
        against_echo("read a stream, Node client", by_node, "reads", least=0.5)
    for most in (1, 32, 256):
        case = f"single appends, {most} in flight, Python client"
        add(case, appends(server, most), library(folder, most), "the library, no server", None)
    add("read a stream, Python client", reads(server, "loan-1"), library_reads(folder), "the library, no server", None)
    return found


def main() -> None:
    command = [sys.executable, __file__, "echo"]
    with (
        workspace() as name,
        ServerProcess(f"sqlite:///{name}/server.db") as server,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bare,
    ):
        try:
            assert bare.stdout is not None
            asyncio.run(fill(server.url))
            found = compared(server.url, bare.stdout.readline().strip(), Path(name))
        finally:
            bare.terminate()
    show("The KurrentDB server (a second)", found)


if __name__ == "__main__":
    if sys.argv[1:] == ["echo"]:
        asyncio.run(echo())
    else:
        main()
