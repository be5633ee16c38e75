"""What a server says of itself: what it can do, where it is, that it is well. And operations that have no work here."""

from __future__ import annotations

import asyncio
import os
import resource
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import grpc

from headwater.server.kurrentdb.messages import message
from headwater.server.kurrentdb.refusals import Refused
from headwater.server.kurrentdb.rpc import Call, Service
from headwater.store import EventStore

__all__ = ["PROTOCOL_VERSION", "About"]

PROTOCOL_VERSION = "26.1.0"
"""The version of KurrentDB whose protocol this is. Clients look at it to know what they may ask."""

LEADER = 8
SERVING, NOT_SERVING = 1, 2
SUCCEEDED = 2
STATS_SECONDS_LEAST = 0.5


class About:
    """Features, gossip, health, statistics and operations of one server."""

    def __init__(self, store: EventStore, address: Callable[[], tuple[str, int]]) -> None:
        self._store = store
        self._address = address
        self._id = str(uuid.uuid4())
        self._began = time.monotonic()
        self._stopping = asyncio.Event()
        self.services: Sequence[Service] = ()
        """What it answers in all: set once they are known, this one's own among them."""

    def stop(self) -> None:
        """From now on it is not well: send nobody here."""
        self._stopping.set()

    def own(self) -> list[Service]:
        """The services of this class."""
        return [
            Service(
                "event_store.client.server_features.ServerFeatures",
                {"GetSupportedMethods": self.supported_methods},
                open=True,
            ),
            Service("event_store.client.gossip.Gossip", {"Read": self.gossip}, open=True),
            Service("grpc.health.v1.Health", {"Check": self.check, "Watch": self.watch}, open=True),
            Service("event_store.client.monitoring.Monitoring", {"Stats": self.stats}),
            Service(
                "event_store.client.operations.Operations",
                {"StartScavenge": self.scavenge, "MergeIndexes": self.nothing, "SetNodePriority": self.nothing},
            ),
        ]

    async def supported_methods(self, request: Any, call: Call) -> Any:
        """What it answers, by names in lower case, as clients compare them."""
        response = message("event_store.client.server_features.SupportedMethods")()
        response.event_store_server_version = PROTOCOL_VERSION
        for service in self.services:
            for name in service.methods:
                features = service.features.get(name, ())
                response.methods.add(method_name=name.lower(), service_name=service.name.lower(), features=features)
        return response

    async def gossip(self, request: Any, call: Call) -> Any:
        """A cluster of one, its leader. Several servers over one store are as many clusters of one."""
        host, port = self._address()
        response = message("event_store.client.gossip.ClusterInfo")()
        member = response.members.add(time_stamp=time.time_ns() // 100, state=LEADER, is_alive=True)
        member.instance_id.string = self._id
        member.http_end_point.address, member.http_end_point.port = host, port
        return response

    async def check(self, request: Any, call: Call) -> Any:
        """Whether it serves."""
        known = {service.name for service in self.services}
        if request.service and request.service not in known:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"there is no service {request.service!r} here")
        status = NOT_SERVING if self._stopping.is_set() else SERVING
        return message("grpc.health.v1.HealthCheckResponse")(status=status)

    async def watch(self, request: Any, call: Call) -> AsyncGenerator[Any, None]:
        """Whether it serves, now and when that changes."""
        yield await self.check(request, call)
        if not self._stopping.is_set():
            await self._stopping.wait()
            yield await self.check(request, call)

    async def stats(self, request: Any, call: Call) -> AsyncGenerator[Any, None]:
        """A few numbers, again and again."""
        seconds = max(STATS_SECONDS_LEAST, request.refresh_time_period_in_ms / 1000)
        while not self._stopping.is_set():
            usage = resource.getrusage(resource.RUSAGE_SELF)
            numbers = {
                "proc-id": os.getpid(),
                "proc-uptime-seconds": round(time.monotonic() - self._began),
                "proc-cpu-seconds": round(usage.ru_utime + usage.ru_stime, 3),
                "proc-mem-max-kb": usage.ru_maxrss,
                "es-head-position": await self._store.head(),
            }
            response = message("event_store.client.monitoring.StatsResp")()
            for key, value in numbers.items():
                response.stats.add(key=key, value=str(value))
            yield response
            try:
                await asyncio.wait_for(self._stopping.wait(), seconds)
            except TimeoutError:
                continue

    async def scavenge(self, request: Any, call: Call) -> Any:
        """Events are never removed, so that there is nothing to do: what is hidden takes no part in reads."""
        response = message("event_store.client.operations.ScavengeResp")()
        response.scavenge_id, response.scavenge_result = str(uuid.uuid4()), SUCCEEDED
        return response

    async def nothing(self, request: Any, call: Call) -> Any:
        """What a server of one node has no need of."""
        return message("event_store.client.Empty")()
