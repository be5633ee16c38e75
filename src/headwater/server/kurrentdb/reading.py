"""``Streams.Read``: a stream or ``$all``, once or for ever, forwards or backwards."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from headwater.backend import StreamInfo
from headwater.server.following import Following
from headwater.server.kurrentdb.access import READ, Access
from headwater.server.kurrentdb.filters import Filter, filter_of
from headwater.server.kurrentdb.recorded import name_of
from headwater.server.kurrentdb.refusals import invalid, stream_deleted
from headwater.server.kurrentdb.rendering import Rendering, Sight
from headwater.server.kurrentdb.rpc import Call
from headwater.server.kurrentdb.subscribing import Subscribing
from headwater.server.kurrentdb.system import is_metadata, subject_of
from headwater.server.kurrentdb.virtual import Virtual, virtual_of
from headwater.store import EventStore

__all__ = ["Reading", "refuse_tombstoned"]

ALL = "$all"
COUNT_MOST = (1 << 62) - 1


class Reading:
    """Reads of one store."""

    def __init__(self, store: EventStore, following: Following, access: Access) -> None:
        self._store = store
        self._access = access
        self._subscribing = Subscribing(store, following)

    async def read(self, request: Any, call: Call) -> AsyncGenerator[Any, None]:
        """The responses to a read, or to a subscription."""
        options = request.options
        if options.uuid_option.WhichOneof("content") is None:
            raise invalid("the read says no uuid_option: string or structured")
        source = options.WhichOneof("stream_option")
        if source is None or options.WhichOneof("count_option") is None:
            raise invalid("the read says neither a stream nor all, or neither a count nor a subscription")
        name = name_of(options.stream.stream_identifier) if source == "stream" else ALL
        await self._access.check(call.user, name, READ)
        virtual = virtual_of(name)
        rendering = Rendering(
            self._store,
            structured=options.uuid_option.WhichOneof("content") == "structured",
            resolve=options.resolve_links,
            virtual=virtual,
            sight=Sight(self._access, call.user),
        )
        async with aclosing(self._responses(options, source, virtual, rendering)) as responses:
            async for response in responses:
                yield response

    def _responses(
        self, options: Any, source: str, virtual: Virtual | None, rendering: Rendering
    ) -> AsyncGenerator[Any, None]:
        backwards = options.read_direction == 1
        subscribes = options.WhichOneof("count_option") == "subscription"
        if subscribes and backwards:
            raise invalid("a subscription goes forwards: leave the direction out")
        if source == "stream":
            if options.WhichOneof("filter_option") == "filter":
                raise invalid("a filter is for reading $all: read the stream without one")
            if subscribes:
                return self._subscribing.stream(options.stream, virtual, rendering)
            if virtual is not None:
                return self._made_up(virtual, options, backwards, rendering)
            return self._stream(name_of(options.stream.stream_identifier), options, backwards, rendering)
        filter = filter_of(options)
        if subscribes:
            return self._subscribing.all(options.all, filter, rendering)
        return self._all(options, filter, backwards, rendering)

    async def _stream(
        self, stream: str, options: Any, backwards: bool, rendering: Rendering
    ) -> AsyncGenerator[Any, None]:
        about = is_metadata(stream)
        if about:
            await refuse_tombstoned(self._store, subject_of(stream))
        after, before = _versions(options.stream, backwards)
        count = min(options.count, COUNT_MOST)
        found, last = False, 0
        if after is not None:
            reading = self._store.read(stream, after=after, before=before, limit=count, backwards=backwards)
            async with aclosing(reading) as events:
                async for event in events:
                    if about and not found and backwards:
                        yield await rendering.metadata(event)
                    else:
                        yield await rendering.of(event)
                    found, last = True, event.version
        wants_ends = options.control_option.compatibility >= 1
        if found and not wants_ends:
            return
        info = await self._store.stream(stream)
        if info is not None and info.state == "tombstoned":
            raise stream_deleted(stream)
        if info is None or info.state == "deleted":
            if not found:
                yield rendering.not_found(stream)
            return
        if wants_ends:
            for response in _ends(info, rendering, found, last, backwards):
                yield response

    async def _made_up(
        self, virtual: Virtual, options: Any, backwards: bool, rendering: Rendering
    ) -> AsyncGenerator[Any, None]:
        after, before = _positions(options.stream, "revision", backwards)
        found, left = False, min(options.count, COUNT_MOST)
        if after is not None and left:
            async with aclosing(
                self._store.read_all(after=after, before=before, query=virtual.query, backwards=backwards)
            ) as events:
                async for event in events:
                    if virtual.wants(event):
                        yield await rendering.of(event)
                        found, left = True, left - 1
                    if not left:
                        return
        if not found and not await self._any(virtual):
            yield rendering.not_found(virtual.name)

    async def _any(self, virtual: Virtual) -> bool:
        async with aclosing(self._store.read_all(query=virtual.query)) as events:
            async for event in events:
                if virtual.wants(event):
                    return True
        return False

    async def _all(
        self, options: Any, filter: Filter, backwards: bool, rendering: Rendering
    ) -> AsyncGenerator[Any, None]:
        after, before = _positions(options.all, "position", backwards)
        left = min(options.count, COUNT_MOST)
        if options.all.WhichOneof("all_option") == "position":
            await self._subscribing.check_position(options.all.position.commit_position)
        if after is None or not left:
            return
        async with aclosing(
            self._store.read_all(after=after, before=before, query=filter.query, backwards=backwards)
        ) as events:
            async for event in events:
                if filter.matches(event):
                    yield await rendering.of(event)
                    left -= 1
                    if not left:
                        return


async def refuse_tombstoned(store: EventStore, stream: str) -> None:
    """Raise where the stream's name was burnt."""
    info = await store.stream(stream)
    if info is not None and info.state == "tombstoned":
        raise stream_deleted(stream)


def _versions(given: Any, backwards: bool) -> tuple[int | None, int | None]:
    """What to read of a stream: versions above ``after`` and below ``before``. ``after`` None: nothing."""
    where = given.WhichOneof("revision_option")
    if where == "revision":
        revision = min(given.revision, COUNT_MOST)
        return (0, revision + 2) if backwards else (revision, None)
    if where == "end":
        return (0, None) if backwards else (None, None)
    return (0, 2) if backwards else (0, None)


def _positions(given: Any, kind: str, backwards: bool) -> tuple[int | None, int | None]:
    """What to read of the log. Forwards a position is included; backwards a log position is not, a revision is."""
    where = given.WhichOneof("all_option" if kind == "position" else "revision_option")
    if where == kind:
        place = min(given.position.commit_position if kind == "position" else given.revision, COUNT_MOST)
        if backwards:
            return 0, place + (1 if kind == "revision" else 0)
        return max(0, place - 1), None
    if where == "end":
        return (0, None) if backwards else (None, None)
    return (None, None) if backwards else (0, None)


def _ends(info: StreamInfo, rendering: Rendering, found: bool, last: int, backwards: bool) -> list[Any]:
    """Where the stream begins, for who found nothing; where it ends, for who read to its end."""
    first = None if found or info.first_version > info.version else info.first_version - 1
    ended = backwards or not found or last == info.version
    return rendering.ends(first, info.version - 1 if ended else None)
