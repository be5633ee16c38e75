"""The service ``PersistentSubscriptions``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import grpc

from headwater.server.following import Following
from headwater.server.kurrentdb.access import READ, Access, refuse_unless_operator
from headwater.server.kurrentdb.groups.consumers import Consumer, Message
from headwater.server.kurrentdb.groups.described import ALL, Described, described, source_of
from headwater.server.kurrentdb.groups.group import Group, dropped
from headwater.server.kurrentdb.groups.lease import Lease, Server, dismiss, place_of
from headwater.server.kurrentdb.groups.parking import Parking
from headwater.server.kurrentdb.groups.register import Register
from headwater.server.kurrentdb.groups.showing import shown
from headwater.server.kurrentdb.messages import message
from headwater.server.kurrentdb.recorded import LINK, name_of, uuid_of
from headwater.server.kurrentdb.refusals import Refused, case, invalid
from headwater.server.kurrentdb.rendering import Rendering, Sight
from headwater.server.kurrentdb.rpc import Call, Service
from headwater.server.kurrentdb.virtual import virtual_of
from headwater.store import EventStore

__all__ = ["PersistentSubscriptions"]

_PACKAGE = "event_store.client.persistent_subscriptions"
_ACTIONS = ("unknown", "park", "retry", "skip", "stop")
ROOM_MOST = 10_000
"""Events that one consumer may have in hand, whatever it asks for."""


class PersistentSubscriptions:
    """The groups of one store, and those at work in this process."""

    def __init__(self, store: EventStore, following: Following, access: Access, me: Callable[[], Server]) -> None:
        self._me = me
        self._store = store
        self._access = access
        self._following = following
        self._register = Register(store)
        self._groups: dict[str, Group] = {}
        self._starting = asyncio.Lock()
        self._closed: Exception | None = None

    def service(self) -> Service:
        """The methods, by their names in the protocol."""
        both = ("stream", "all")
        methods = {
            "Create": self.create,
            "Update": self.update,
            "Delete": self.delete,
            "Read": self.read,
            "GetInfo": self.info,
            "List": self.list,
            "ReplayParked": self.replay_parked,
            "RestartSubsystem": self.restart,
        }
        features = dict.fromkeys(("Create", "Update", "Delete", "Read", "GetInfo", "List", "ReplayParked"), both)
        return Service(f"{_PACKAGE}.PersistentSubscriptions", methods, features=features)

    async def create(self, request: Any, call: Call) -> Any:
        """A new group."""
        refuse_unless_operator(call.user)
        await self._register.create(await described(request.options, self._store))
        return message(f"{_PACKAGE}.CreateResp")()

    async def update(self, request: Any, call: Call) -> Any:
        """Change a group; its consumers have to come again."""
        refuse_unless_operator(call.user)
        options = request.options
        present = await self._register.find(source_of(options), options.group_name)
        await self._register.change(await described(options, self._store, present))
        await self._drop(present)
        return message(f"{_PACKAGE}.UpdateResp")()

    async def delete(self, request: Any, call: Call) -> Any:
        """Strike a group out, and send its consumers away."""
        refuse_unless_operator(call.user)
        present = await self._register.find(source_of(request.options), request.options.group_name)
        await self._register.delete(present)
        await self._drop(present)
        return message(f"{_PACKAGE}.DeleteResp")()

    async def info(self, request: Any, call: Call) -> Any:
        """What is known of one group."""
        present = await self._register.find(source_of(request.options), request.options.group_name)
        response = message(f"{_PACKAGE}.GetInfoResp")()
        await self._show(present, response.subscription_info)
        return response

    async def list(self, request: Any, call: Call) -> Any:
        """What is known of all groups, or of those of one source."""
        options = request.options
        wanted = None
        if options.WhichOneof("list_option") == "list_for_stream":
            stream = options.list_for_stream
            wanted = ALL if stream.WhichOneof("stream_option") == "all" else name_of(stream.stream)
        response = message(f"{_PACKAGE}.ListResp")()
        async for each in self._register.all():
            if wanted is None or each.source == wanted:
                await self._show(each, response.subscriptions.add())
        if wanted is not None and not response.subscriptions:
            text = f"There are no subscription groups on stream {wanted}."
            trailers = case("persistent-subscription-does-not-exist", stream_name=wanted, group_name="")
            raise Refused(grpc.StatusCode.NOT_FOUND, text, trailers)
        return response

    async def _show(self, present: Described, target: Any) -> None:
        group = self._groups.get(present.key)
        kept = await place_of(self._store._backend, present.id)
        parked = await Parking(self._store, present).count()
        shown(target, present, group, kept, parked)

    async def replay_parked(self, request: Any, call: Call) -> Any:
        """Bring back what a group has parked, now or when its next consumer comes."""
        refuse_unless_operator(call.user)
        options = request.options
        present = await self._register.find(source_of(options), options.group_name)
        upto = options.stop_at if options.WhichOneof("stop_at_option") == "stop_at" else None
        if upto is not None and upto < 0:
            raise invalid(f"stop_at is {upto}: give a number from 0 up")
        await (await self._running(present)).replay(upto)
        return message(f"{_PACKAGE}.ReplayParkedResp")()

    async def restart(self, request: Any, call: Call) -> Any:
        """Send all consumers away; groups begin anew with whoever comes."""
        refuse_unless_operator(call.user)
        for group in list(self._groups.values()):
            await self._drop(group.described)
        return message("event_store.client.Empty")()

    async def read(self, requests: AsyncIterator[Any], call: Call) -> AsyncGenerator[Any, None]:
        """A consumer: events one way, its answers the other."""
        first = await anext(aiter(requests), None)
        if first is None or first.WhichOneof("content") != "options":
            raise invalid("a consumer's first message is its options")
        options = first.options
        await self._access.check(call.user, source_of(options), READ)
        present = await self._register.find(source_of(options), options.group_name)
        room = min(max(1, options.buffer_size), ROOM_MOST)
        user = call.user.name if call.user is not None else "anonymous"
        consumer = Consumer(room, call.peer, user, call.headers.get("connection-name", ""))
        group = await self._running(present)
        group.connect(consumer)
        answering = asyncio.create_task(_answers(group, consumer, requests))
        try:
            response = message(f"{_PACKAGE}.ReadResp")()
            response.subscription_confirmation.subscription_id = present.key
            yield response
            rendering = _rendering(self._store, present, options, Sight(self._access, call.user))
            while True:
                given = await consumer.outgoing.get()
                if given is None:
                    return
                if isinstance(given, Exception):
                    raise given
                response = await _rendered(rendering, given, group, consumer)
                if response is not None:
                    yield response
        finally:
            answering.cancel()
            group.disconnect(consumer)  # before anything that may be broken off: others wait for what it had
            await asyncio.shield(self._left(group))

    async def _running(self, present: Described) -> Group:
        async with self._starting:
            if self._closed is not None:
                raise self._closed
            group = self._groups.get(present.key)
            if group is None or group.lost or group.described != present:
                if group is not None:  # another process has changed it, or deals it
                    await self._put_down(group, dropped(group.described))
                group = Group(
                    self._store, self._following, present, Lease(self._store._backend, present.id, self._me())
                )
                await group.start()
                self._groups[present.key] = group
            return group

    async def _left(self, group: Group) -> None:
        """A consumer has gone: where it was the last one, the group need not be at work. Unless another one comes."""
        async with self._starting:
            if not group.consumers and self._groups.get(group.described.key) is group:
                await self._put_down(group)

    async def _put_down(self, group: Group, reason: Exception | None = None) -> None:
        self._groups.pop(group.described.key, None)
        await group.stop(reason)

    async def _drop(self, present: Described) -> None:
        async with self._starting:
            group = self._groups.get(present.key)
            if group is not None:
                await self._put_down(group, dropped(present))
        if group is None or group.lost:
            await dismiss(self._store._backend, present.id)

    async def close(self, reason: Exception) -> None:
        """Send all consumers away for good, keep where each group is, and leave the groups to other servers."""
        self._closed = reason
        async with self._starting:
            for group in list(self._groups.values()):
                await self._put_down(group, reason)


def _rendering(store: EventStore, group: Described, options: Any, sight: Sight) -> Rendering:
    return Rendering(
        store,
        structured=options.uuid_option.WhichOneof("content") == "structured",
        resolve=group.resolve_links,
        virtual=virtual_of(group.source),
        sight=sight,
        response=message(f"{_PACKAGE}.ReadResp"),
    )


async def _rendered(rendering: Rendering, given: Message, group: Group, consumer: Consumer) -> Any:
    """The response; None where it is a link that this consumer can't handle: to nothing, or to what it may not read."""
    response = await rendering.of(given.event)
    if group.described.resolve_links and given.event.type == LINK and not response.event.HasField("event"):
        id = group.id_of(given.event)
        if await rendering.sees_target(given.event):
            group.ack(consumer, id)
        else:
            await group.nack(consumer, id, "park", "The consumer may not read the stream that the link leads to.")
        return None
    response.event.retry_count = given.retries
    return response


async def _answers(group: Group, consumer: Consumer, requests: AsyncIterator[Any]) -> None:
    """Take a consumer's answers, until it has no more."""
    try:
        async for request in requests:
            kind = request.WhichOneof("content")
            if kind == "ack":
                for id in request.ack.ids:
                    group.ack(consumer, uuid_of(id))
            elif kind == "nack":
                number = request.nack.action
                action = _ACTIONS[number] if 0 <= number < len(_ACTIONS) else "unknown"
                for id in request.nack.ids:
                    await group.nack(consumer, uuid_of(id), action, request.nack.reason)
                if action == "stop":
                    break
        consumer.outgoing.put_nowait(None)
    except Exception as error:
        consumer.outgoing.put_nowait(error)
