"""Which server deals a group: one at a time, by a lease in a record of the store that holds the group's place too.

Who has lost the lease can't write the place any more, as the record's revision is the fencing token. How long a lease
still lasts is told to others by the store's clock, and to its holder by his own, counted from before it was written.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import NamedTuple

import grpc
import msgspec

from headwater.backend import Backend, Record, RecordChange
from headwater.errors import StaleRecord
from headwater.server.kurrentdb.refusals import Refused, case

__all__ = ["LEASE_SECONDS", "Lease", "Lost", "Server", "dismiss", "place_of"]

LEASE_SECONDS = 10.0
"""A server that gave no sign of life for so long is replaced."""
ATTEMPTS = 20


class Server(NamedTuple):
    """A server as others know it."""

    id: str
    """Its machine and port. Who starts there follows whoever was there: both can't listen at once."""
    host: str
    port: int
    """Where clients reach it."""


class Held(msgspec.Struct, frozen=True):
    """What the record says."""

    place: int | None = None
    """The group's place; None where it has not begun."""
    server: str = ""
    """Who holds the lease; '' where nobody does."""
    token: str = ""
    """Made with each taking, so that a holder knows his own writing."""
    host: str = ""
    port: int = 0
    lease_us: int = 0
    dismissed: bool = False
    """The group was changed or deleted elsewhere: its holder is to let it go."""


class Lost(Exception):
    """The lease is another server's by now, or was taken away because the group was changed."""

    def __init__(self, refused: Refused | None) -> None:
        self.refused = refused
        """Where to go instead; None where the group was changed or deleted."""
        super().__init__()


class Lease:
    """One server's lease on a group."""

    def __init__(self, backend: Backend, group: str, server: Server) -> None:
        self._backend = backend
        self._name = _name(group)
        self._server = server
        self._token = uuid.uuid4().hex
        self._revision = 0
        self._held_until = 0.0
        self._saving = asyncio.Lock()

    def left(self) -> float:
        """Seconds for which no other server deals the group."""
        return self._held_until - time.monotonic()

    async def take(self) -> int | None:
        """Take the lease; the group's place. ``Refused`` where another server holds it, with where that is."""
        for _ in range(ATTEMPTS):
            record = await _record(self._backend, self._name)
            held = _held(record)
            if record is not None and held.server != self._server.id and _is_alive(record, held):
                raise _elsewhere(held)
            self._revision = record.revision if record is not None else 0
            try:
                await self.save(held.place)
            except Lost:
                continue  # somebody else took it in this moment
            return held.place
        raise Refused(grpc.StatusCode.UNAVAILABLE, "others take this group all the time: try again")

    async def save(self, place: int | None, *, release: bool = False) -> None:
        """Write the place, and renew the lease or ``release`` it. ``Lost``: nothing was written.

        Goes on to its end where the caller is cancelled: else nobody would know the record's revision any more.
        """
        await asyncio.shield(self._save(place, release=release))

    async def _save(self, place: int | None, *, release: bool) -> None:
        async with self._saving:
            held = Held(place, self._server.id, self._token, self._server.host, self._server.port)
            held = msgspec.structs.replace(held, lease_us=int(LEASE_SECONDS * 1e6))
            value = msgspec.json.encode(Held(place) if release else held)
            try:
                await self._write(value, release=release)
            except StaleRecord:
                await self._look_again(release=release)
                try:
                    await self._write(value, release=release)
                except StaleRecord:
                    self._held_until = 0.0
                    raise Lost(None) from None

    async def _write(self, value: bytes, *, release: bool) -> None:
        asked_at = time.monotonic()
        (self._revision,) = await self._backend.save_records([RecordChange(self._name, value, self._revision)])
        self._held_until = 0.0 if release else asked_at + LEASE_SECONDS

    async def _look_again(self, *, release: bool) -> None:
        """The record has another revision. It may be by a write of ours whose answer was lost: then all is well."""
        record = await _record(self._backend, self._name)
        held = _held(record)
        mine = held.token == self._token
        if record is not None and mine:
            self._revision = record.revision
            if release or not held.dismissed:
                return
        self._held_until = 0.0
        raise Lost(_elsewhere(held) if held.server and not mine else None)


async def place_of(backend: Backend, group: str) -> int | None:
    """The place that is kept of a group."""
    return _held(await _record(backend, _name(group))).place


async def dismiss(backend: Backend, group: str) -> None:
    """Let the server that deals a group, if there is one, know that it is changed or gone."""
    for _ in range(ATTEMPTS):
        record = await _record(backend, _name(group))
        held = _held(record)
        if record is None or not held.server:
            return
        value = msgspec.json.encode(msgspec.structs.replace(held, dismissed=True))
        try:
            await backend.save_records([RecordChange(record.name, value, record.revision)])
        except StaleRecord:
            continue
        return


def _name(group: str) -> str:
    return f"kurrentdb/groups/{group}"


async def _record(backend: Backend, name: str) -> Record | None:
    records = await backend.load_records(name, limit=1)
    return records[0] if records and records[0].name == name else None


def _held(record: Record | None) -> Held:
    return Held() if record is None else msgspec.json.decode(record.value, type=Held)


def _is_alive(record: Record, held: Held) -> bool:
    return bool(held.server) and record.age_us < held.lease_us


def _elsewhere(held: Held) -> Refused:
    """Clients know the text, and go where the trailers say."""
    trailers = case("not-leader", leader_endpoint_host=held.host, leader_endpoint_port=held.port)
    return Refused(grpc.StatusCode.NOT_FOUND, "Leader info available", trailers)
