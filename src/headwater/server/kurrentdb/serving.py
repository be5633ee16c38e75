"""The server: all services over one store, on one port."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import grpc

from headwater.errors import StoreUnavailable
from headwater.server.accounts import Accounts, User
from headwater.server.following import Following
from headwater.server.health import Health
from headwater.server.kurrentdb.about import About
from headwater.server.kurrentdb.access import Access
from headwater.server.kurrentdb.appending import Appending
from headwater.server.kurrentdb.deleting import Deleting
from headwater.server.kurrentdb.groups import PersistentSubscriptions
from headwater.server.kurrentdb.groups.lease import Server
from headwater.server.kurrentdb.reading import Reading
from headwater.server.kurrentdb.refusals import Refused
from headwater.server.kurrentdb.rpc import Calls, Service
from headwater.server.kurrentdb.sessions import Sessions
from headwater.server.kurrentdb.storing import Storing
from headwater.server.kurrentdb.system import Metadata
from headwater.server.settings import Settings
from headwater.store import EventStore

__all__ = ["KurrentServer"]

GRACE_SECONDS = 10.0
"""How long calls under way may still take when the server stops."""


class KurrentServer:
    """Answers KurrentDB's clients from a store. ``async with``, or ``start`` and ``stop``."""

    def __init__(self, store: EventStore, settings: Settings) -> None:
        settings.check()
        self._settings = settings
        self._accounts = None if settings.users is None else Accounts(settings.users)
        self._following = Following(store)
        self._about = About(store, lambda: settings.address(self.port))
        self._server: Any = None
        self.health = None if settings.health_port is None else Health(settings.host, settings.health_port, store.head)
        self.port = settings.port
        access = Access(store)
        self._groups = PersistentSubscriptions(store, self._following, access, self._me)
        self._metadata = Metadata(store)
        own = [self._groups.service(), *self._about.own()]
        self._about.services = services = [*_services(store, self._following, self._metadata, access), *own]
        self._calls = Calls(services, None if self._accounts is None else self._guard)

    def _me(self) -> Server:
        """This server, as the others over the same store know it."""
        return Server(f"{socket.gethostname()}:{self.port}", *self._settings.address(self.port))

    def _guard(self, headers: Mapping[str, str]) -> User:
        assert self._accounts is not None
        user = self._accounts.user_of(headers.get("authorization"))
        if user is None:
            raise Refused(
                grpc.StatusCode.UNAUTHENTICATED,
                "no user of this server has this name and password: kurrentdb://name:password@host:port?tls=true",
            )
        return user

    async def start(self) -> None:
        """Listen. ``StoreUnavailable`` where the port is taken."""
        settings = self._settings
        self._server = grpc.aio.server(options=_options(settings))
        self._server.add_generic_rpc_handlers((self._calls,))
        address = f"{settings.host}:{settings.port}"
        try:
            if settings.certificate is not None and settings.key is not None:
                pair = settings.key.read_bytes(), settings.certificate.read_bytes()
                self.port = self._server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
            else:
                self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise StoreUnavailable(
                f"the server can't listen on {address}: {error}", "Stop what listens there, or give another --port."
            ) from None
        await self._server.start()
        self._metadata.start()
        if self.health is not None:
            await self.health.start()

    async def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Take no new calls, end subscriptions, let the rest finish."""
        self._about.stop()
        gone = Refused(grpc.StatusCode.UNAVAILABLE, "the server is stopping: connect again in a moment")
        await self._groups.close(gone)
        await self._metadata.stop()
        await self._following.close()
        await self._server.stop(grace)
        if self.health is not None:
            await self.health.stop()

    @property
    def url(self) -> str:
        """The connection string for clients."""
        host, port = self._settings.address(self.port)
        name = "name:password@" if self._accounts else ""
        return f"kurrentdb://{name}{host}:{port}?tls={'true' if self._settings.certificate else 'false'}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _services(store: EventStore, following: Following, metadata: Metadata, access: Access) -> list[Service]:
    storing = Storing(store, metadata, access)
    reading = Reading(store, following, access)
    appending = Appending(storing, access, store.limits, store.capabilities.backend)
    deleting = Deleting(store, metadata, access)
    sessions = Sessions(store, storing, access)
    return [
        Service(
            "event_store.client.streams.Streams",
            {
                "Read": reading.read,
                "Append": appending.append,
                "BatchAppend": appending.batch_append,
                "Delete": deleting.delete,
                "Tombstone": deleting.tombstone,
            },
            features={"Read": ("position", "events"), "BatchAppend": ("deadline_duration",)},
        ),
        Service(
            "kurrentdb.protocol.v2.streams.StreamsService",
            {"AppendSession": sessions.append_session, "AppendRecords": sessions.append_records},
        ),
    ]


def _options(settings: Settings) -> list[tuple[str, int]]:
    """Of the gRPC library: sizes, and pings. Clients ping every 10 s, and must not be sent away for it."""
    return [
        ("grpc.max_receive_message_length", settings.message_bytes_max),
        ("grpc.max_send_message_length", settings.message_bytes_max + 1_048_576),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 500),
        ("grpc.server_handshake_timeout_ms", 20_000),
        ("grpc.max_concurrent_streams", 2_000),
        ("grpc.so_reuseport", 0),
    ]
