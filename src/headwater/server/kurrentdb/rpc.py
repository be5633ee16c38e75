"""Calls: a table of services whose methods are coroutines of ours, as the gRPC library wants them.

Every call goes the same way: who is it, was the message readable, do it, and say what went wrong in the protocol's own
words. What the table does not have is answered with ``UNIMPLEMENTED`` and a sentence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import grpc

from headwater.errors import HeadwaterError
from headwater.server.accounts import User
from headwater.server.kurrentdb.messages import message, service_methods
from headwater.server.kurrentdb.refusals import Refused, refusal_of

__all__ = ["Call", "Calls", "Guard", "Service", "checked"]

log = logging.getLogger("headwater.server")

_MALFORMED = object()
"""What a message becomes that can't be read: the call refuses it, instead of the library with an internal error."""

Guard = Callable[[Mapping[str, str]], User]
"""From a call's headers to its user; raises ``Refused``."""

_SENTENCES = {
    "event_store.client.projections.Projections": (
        "Headwater runs no JavaScript projections. Use its own (headwater projections: read models in SQL, "
        "rebuilt beside the old ones), or read the system's: $ce-…, $et-…, $bc-…, $streams."
    ),
    "event_store.client.users.Users": (
        "Users of this server are those of its --users file, which is read when it changes: edit that file."
    ),
    "event_store.client.operations.Operations": (
        "A server here is a cluster of one, which has nothing else to operate: stop it by SIGTERM; "
        "RestartSubsystem of PersistentSubscriptions restarts those."
    ),
    "event_store.client.redaction.Redaction": (
        "Headwater changes no stored event. Keep personal data sealed under keys that can be destroyed: "
        "headwater serve --vault, headwater forget."
    ),
}


class Call:
    """What a method may want to know of its call. Nothing is looked up before it is asked for."""

    __slots__ = ("_context", "user")

    def __init__(self, context: Any, user: User | None) -> None:
        self._context = context
        self.user = user
        """Who has made it; None where the server knows no users: then nobody is kept from anything."""

    @property
    def headers(self) -> dict[str, str]:
        """What the client has sent along."""
        return _headers(self._context)

    @property
    def peer(self) -> str:
        """Where it is."""
        return str(self._context.peer())

    def seconds_left(self) -> float | None:
        """Until the client's deadline; None where it has none."""
        left: float | None = self._context.time_remaining()
        return left


def _headers(context: Any) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


class Service(NamedTuple):
    """A service: its full name, and its methods by their names in the protocol.

    A method takes ``(request, call)``: a message, or an iterator of messages where the client streams. It returns a
    response, or is an async generator of them where the server streams.
    """

    name: str
    methods: Mapping[str, Callable[[Any, Call], Any]]
    features: Mapping[str, Sequence[str]] = {}
    """What clients may look for, by method, in the list of supported methods."""
    open: bool = False
    """Whether it answers those, too, who have not said who they are."""


class Calls:
    """The handlers of all methods, for ``grpc.aio.Server.add_generic_rpc_handlers``."""

    def __init__(self, services: Sequence[Service], guard: Guard | None) -> None:
        self._handlers: dict[str, Any] = {}
        for service in services:
            for descriptor in service_methods(service.name):
                if (method := service.methods.get(descriptor.name)) is not None:
                    path = f"/{service.name}/{descriptor.name}"
                    self._handlers[path] = _handler(descriptor, method, None if service.open else guard)

    def service(self, details: Any) -> Any:
        """The handler for a call; the library asks for each."""
        return self._handlers.get(details.method) or _unimplemented(details.method)


def _handler(descriptor: Any, method: Callable[[Any, Call], Any], guard: Guard | None) -> Any:
    reading = message(descriptor.input_type.full_name).FromString
    serialize = message(descriptor.output_type.full_name).SerializeToString
    request_streams, streams = descriptor.client_streaming, descriptor.server_streaming

    def deserialize(raw: bytes) -> Any:
        try:
            return reading(raw)
        except Exception:
            return _MALFORMED

    async def answer(request: Any, context: Any) -> Any:
        try:
            call = _call(context, guard)
            return await method(checked(request) if request_streams else _well_formed(request), call)
        except Exception as error:
            return await _refuse(context, error, descriptor.full_name)

    async def stream(request: Any, context: Any) -> None:
        try:
            call = _call(context, guard)
            responses = method(checked(request) if request_streams else _well_formed(request), call)
            try:
                async for response in responses:
                    raw = serialize(response)
                    del response  # a slow reader then costs one copy less
                    await context.write(raw)
            finally:
                await responses.aclose()
        except Exception as error:
            await _refuse(context, error, descriptor.full_name)

    kinds = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    kind = kinds[request_streams, streams]
    if streams:
        return kind(stream, request_deserializer=deserialize)
    return kind(answer, request_deserializer=deserialize, response_serializer=serialize)


def _call(context: Any, guard: Guard | None) -> Call:
    return Call(context, None if guard is None else guard(_headers(context)))


async def checked(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The messages of a client's stream, each readable."""
    async for request in requests:
        yield _well_formed(request)


def _well_formed(request: Any) -> Any:
    if request is _MALFORMED:
        raise Refused(
            grpc.StatusCode.INVALID_ARGUMENT,
            "the message is not what this method's protobuf definition says. Send it with a KurrentDB client.",
        )
    return request


async def _refuse(context: Any, error: Exception, method: str) -> None:
    """End the call with the status that says what went wrong. A connection that is gone needs none."""
    if isinstance(error, grpc.aio.AbortError | asyncio.CancelledError):
        raise error
    refused = error if isinstance(error, Refused) else refusal_of(error) if isinstance(error, HeadwaterError) else None
    if refused is None:
        if context.done() or isinstance(error, grpc.RpcError | grpc.aio.UsageError):
            return
        log.exception("%s failed", method, exc_info=error)
        refused = Refused(
            grpc.StatusCode.INTERNAL, f"this is a bug of Headwater ({type(error).__name__}); its log says where"
        )
    await context.abort(refused.code, refused.details, refused.trailers)


def _unimplemented(path: str) -> Any:
    service, _, method = path.strip("/").rpartition("/")
    known = _SENTENCES.get(service) or (
        f"Headwater does not answer {service or path}. ServerFeatures.GetSupportedMethods lists what it answers."
    )

    async def refuse(request: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not there: {known}" if method else known)

    return grpc.stream_stream_rpc_method_handler(refuse)
