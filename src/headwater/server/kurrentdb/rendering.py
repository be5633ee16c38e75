"""Responses to readers: an event of the store as the message a client reads, links followed where that was asked."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec

from headwater.events import Event
from headwater.server.accounts import User
from headwater.server.kurrentdb.access import READ, Access
from headwater.server.kurrentdb.messages import message
from headwater.server.kurrentdb.recorded import LINK, fill_link, fill_recorded
from headwater.server.kurrentdb.system import DELETED, subject_of
from headwater.server.kurrentdb.virtual import Virtual
from headwater.store import EventStore

__all__ = ["Rendering", "Sight", "now"]

_RESPONSE = message("event_store.client.streams.ReadResp")


class Sight(NamedTuple):
    """What a reader may see: links are not followed into streams that he may not read."""

    access: Access
    user: User | None


class Rendering:
    """How one reader wants its events: the form of ids, links followed or not, and the made-up stream it reads."""

    def __init__(
        self,
        store: EventStore,
        *,
        structured: bool,
        resolve: bool,
        virtual: Virtual | None = None,
        sight: Sight | None = None,
        response: Any = _RESPONSE,
    ) -> None:
        self._store = store
        self._structured = structured
        self._resolve = resolve
        self._virtual = virtual
        self._sight = sight
        self._response = response

    async def of(self, event: Event) -> Any:
        """The response for one event."""
        response = self._response()
        shown = response.event
        shown.commit_position = event.position
        if self._virtual is not None:
            fill_link(
                shown.link if self._resolve else shown.event, self._virtual.name, event, structured=self._structured
            )
            if self._resolve and await self._sees(event.stream):
                fill_recorded(shown.event, event, structured=self._structured)
        elif self._resolve and event.type == LINK:
            fill_recorded(shown.link, event, structured=self._structured)
            target = await self._target(event)
            if target is not None:
                fill_recorded(shown.event, target, structured=self._structured)
        else:
            fill_recorded(shown.event, event, structured=self._structured)
        return response

    async def metadata(self, event: Event) -> Any:
        """The response for the last event of a stream's metadata.

        Deleting a stream writes there that all of it is out. Where the stream has had events since, what is out ends
        before the first of those, and that is what a client must read: else it would delete the stream by writing back
        what it read.
        """
        response = await self.of(event)
        about = event.data if event.raw_data[:1] == b"{" else {}
        if isinstance(about, dict) and about.get("$tb") == DELETED:
            info = await self._store.stream(subject_of(event.stream or ""))
            if info is not None and info.state == "open":
                response.event.event.data = msgspec.json.encode({**about, "$tb": info.first_version - 1})
        return response

    async def _target(self, link: Event) -> Event | None:
        """The event that a link stands for; None where it is gone, not to be seen, or the link names none."""
        stream, revision = _named(link)
        if stream is None or not await self._sees(stream):
            return None
        async with aclosing(self._store.read(stream, after=revision, before=revision + 2)) as events:
            async for event in events:
                return event
        return None

    async def sees_target(self, link: Event) -> bool:
        """Whether the reader may see what a link stands for, be it there or not."""
        return await self._sees(_named(link)[0])

    async def _sees(self, stream: str | None) -> bool:
        return self._sight is None or stream is None or await self._sight.access.allows(self._sight.user, stream, READ)

    def confirmation(self, subscription: str) -> Any:
        """The first response to a subscriber."""
        response = self._response()
        response.confirmation.subscription_id = subscription
        return response

    def not_found(self, stream: str) -> Any:
        """The only response to who reads a stream that is not there."""
        response = self._response()
        response.stream_not_found.stream_identifier.stream_name = stream.encode()
        return response

    def checkpoint(self, position: int) -> Any:
        """Everything that a filter lets through was sent, up to here."""
        response = self._response()
        response.checkpoint.commit_position = response.checkpoint.prepare_position = position
        now(response.checkpoint.timestamp)
        return response

    def caught_up(self, *, revision: int | None = None, position: int | None = None) -> Any:
        """The reader has all there is: of a stream up to a revision, of the log up to a position."""
        response = self._response()
        _place(response.caught_up, revision, position)
        return response

    def fell_behind(self, *, revision: int | None = None, position: int | None = None) -> Any:
        """It had, up to there, and was too slow for what came since: that is read from the store again."""
        response = self._response()
        _place(response.fell_behind, revision, position)
        return response

    def ends(self, first: int | None, last: int | None) -> list[Any]:
        """Where a stream begins and ends, for the clients that ask."""
        responses = []
        for name, value in (("first_stream_position", first), ("last_stream_position", last)):
            if value is not None:
                response = self._response()
                setattr(response, name, value)
                responses.append(response)
        return responses


def _named(link: Event) -> tuple[str | None, int]:
    """The stream and revision that a link names; no stream where it can't be read."""
    revision, _, stream = link.raw_data.decode(errors="replace").partition("@")
    if not (stream and revision.isdecimal() and len(revision) < 19):
        return None, 0
    return stream, int(revision)


def now(timestamp: Any) -> None:
    """Write the present time into a protobuf timestamp."""
    timestamp.seconds, timestamp.nanos = divmod(time.time_ns(), 1_000_000_000)


def _place(target: Any, revision: int | None, position: int | None) -> None:
    now(target.timestamp)
    if revision is not None:
        target.stream_revision = revision
    if position is not None:
        target.position.commit_position = target.position.prepare_position = position
