"""What is refused, in the protocol's own words: statuses, the trailers that clients look at, details as messages."""

from __future__ import annotations

from typing import Any

import grpc

from headwater.errors import (
    CorruptStore,
    DuplicateEvent,
    HeadwaterError,
    InvalidEvent,
    NotOwner,
    NotSupported,
    OutcomeUnknown,
    StoreUnavailable,
    StreamDeleted,
    TooLarge,
)
from headwater.server.kurrentdb.messages import message

__all__ = [
    "Refused",
    "case",
    "detailed",
    "invalid",
    "packed",
    "refusal_of",
    "stream_deleted",
    "wrong_version",
]

NO_STREAM = -1
"""The revision of a stream without events, as texts and trailers write it."""


class Refused(Exception):
    """A call that ends with a status. ``trailers`` are what clients tell the case by."""

    def __init__(self, code: Any, details: str, trailers: tuple[tuple[str, str | bytes], ...] = ()) -> None:
        self.code = code
        self.details = details
        self.trailers = trailers
        super().__init__(details)


def case(name: str, **facts: object) -> tuple[tuple[str, str | bytes], ...]:
    """Trailers: ``exception`` and what belongs to it. Headers hold ASCII only."""
    rows = {"exception": name, **{key.replace("_", "-"): str(value) for key, value in facts.items()}}
    return tuple([(key, value.encode("ascii", "backslashreplace").decode()) for key, value in rows.items()])


def invalid(details: str) -> Refused:
    """The request can't be followed as it was sent."""
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, details)


def stream_deleted(stream: str) -> Refused:
    """The stream is tombstoned, or soft-deleted where one that exists was asked for."""
    return Refused(
        grpc.StatusCode.FAILED_PRECONDITION,
        f"Event stream '{stream}' is deleted.",
        case("stream-deleted", stream_name=stream),
    )


def wrong_version(what: str, stream: str, expected: int, actual: int) -> Refused:
    """The stream is at another revision. The Python client reads the facts from the text, others from trailers."""
    return Refused(
        grpc.StatusCode.FAILED_PRECONDITION,
        f"{what} failed due to WrongExpectedVersion. "
        f"Stream: {stream}, Expected version: {expected}, Actual version: {actual}",
        case("wrong-expected-version", stream_name=stream, expected_version=expected, actual_version=actual),
    )


def packed(details: Any) -> Any:
    """A message as ``google.protobuf.Any``."""
    wrapped = message("google.protobuf.Any")()
    wrapped.Pack(details)
    return wrapped


def detailed(code: Any, text: str, details: Any) -> Refused:
    """A refusal as version 2 of the protocol tells it: by a message in a trailer."""
    status = message("google.rpc.Status")(code=code.value[0], message=text, details=[packed(details)])
    return Refused(code, text, (("grpc-status-details-bin", status.SerializeToString()),))


def refusal_of(error: HeadwaterError) -> Refused:
    """The status for an error of the store. Wrong versions are told by each method in its own shape."""
    text = str(error)
    if isinstance(error, StreamDeleted):
        return stream_deleted(error.stream)
    if isinstance(error, NotOwner):
        return Refused(grpc.StatusCode.UNAVAILABLE, text)
    if isinstance(error, StoreUnavailable | OutcomeUnknown):
        return Refused(grpc.StatusCode.UNAVAILABLE, text)
    if isinstance(error, TooLarge):
        return _too_large(error)
    if isinstance(error, DuplicateEvent):
        return Refused(grpc.StatusCode.ALREADY_EXISTS, text)
    if isinstance(error, InvalidEvent):
        return invalid(text)
    if isinstance(error, NotSupported):
        return Refused(grpc.StatusCode.UNIMPLEMENTED, text)
    if isinstance(error, CorruptStore):
        return Refused(grpc.StatusCode.DATA_LOSS, text)
    return Refused(grpc.StatusCode.FAILED_PRECONDITION, text)


def _too_large(error: TooLarge) -> Refused:
    if error.limit in ("append_bytes_max", "append_events_max"):
        trailers = case("maximum-append-size-exceeded", maximum_append_size=error.most)
    elif error.limit in ("event_bytes_max", "metadata_bytes_max"):
        trailers = case("maximum-append-event-size-exceeded", maximum_append_event_size=error.most)
    else:
        trailers = ()
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, str(error), trailers)
