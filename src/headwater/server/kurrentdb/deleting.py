"""``Streams.Delete`` and ``Streams.Tombstone``."""

from __future__ import annotations

import asyncio
from typing import Any

from headwater.errors import WrongExpectedVersion
from headwater.queries import ANY, NO_STREAM, STREAM_EXISTS, ExpectedVersion
from headwater.server.kurrentdb.access import DELETE, Access
from headwater.server.kurrentdb.messages import message
from headwater.server.kurrentdb.recorded import name_of
from headwater.server.kurrentdb.refusals import Refused, invalid, stream_deleted, wrong_version
from headwater.server.kurrentdb.rpc import Call
from headwater.server.kurrentdb.storing import expectation_of
from headwater.server.kurrentdb.system import Metadata
from headwater.server.kurrentdb.virtual import virtual_of
from headwater.store import EventStore

__all__ = ["Deleting"]

_NUMBERS: dict[object, int] = {ANY: -2, NO_STREAM: -1, STREAM_EXISTS: -4}
"""Expectations as the protocol writes them in texts."""


class Deleting:
    """Deletions in one store."""

    def __init__(self, store: EventStore, metadata: Metadata, access: Access) -> None:
        self._store = store
        self._metadata = metadata
        self._access = access

    async def delete(self, request: Any, call: Call) -> Any:
        """Hide the events there are from the stream's readers."""
        stream, expected = _asked(request)
        await self._access.check(call.user, stream, DELETE)
        return await asyncio.shield(self._delete(stream, expected))

    async def _delete(self, stream: str, expected: ExpectedVersion) -> Any:
        try:
            await self._store.delete_stream(stream, expected=expected)
        except WrongExpectedVersion as wrong:
            raise _refused("Delete stream", wrong, expected) from None
        await self._metadata.deleted(stream)
        self._access.changed(stream)
        return await self._response("DeleteResp")

    async def tombstone(self, request: Any, call: Call) -> Any:
        """Hide them, and refuse the name for ever."""
        stream, expected = _asked(request)
        await self._access.check(call.user, stream, DELETE)
        try:
            await self._store.tombstone_stream(stream, expected=expected)
        except WrongExpectedVersion as wrong:
            raise _refused("Tombstone stream", wrong, expected) from None
        self._access.changed(stream)
        return await self._response("TombstoneResp")

    async def _response(self, name: str) -> Any:
        response = message(f"event_store.client.streams.{name}")()
        response.position.commit_position = response.position.prepare_position = await self._store.head()
        return response


def _asked(request: Any) -> tuple[str, ExpectedVersion]:
    stream = name_of(request.options.stream_identifier)
    if virtual_of(stream) is not None:
        raise invalid(f"the server makes up the stream {stream!r}: there is nothing to delete")
    return stream, expectation_of(request.options, "expected_stream_revision", "revision")


def _refused(what: str, wrong: WrongExpectedVersion, expected: ExpectedVersion) -> Refused:
    stream = wrong.stream or ""
    if expected is STREAM_EXISTS and wrong.actual:
        return stream_deleted(stream)
    number = expected - 1 if isinstance(expected, int) else _NUMBERS[expected]
    return wrong_version(what, stream, number, wrong.actual - 1)
