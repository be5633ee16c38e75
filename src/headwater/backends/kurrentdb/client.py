"""The client, its errors in our words, and the appends that we make through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from kurrentdbclient import KurrentDBClient
from kurrentdbclient.events import NewRecord, StreamStateCheck
from kurrentdbclient.exceptions import (
    AccessDeniedError,
    ConsistencyChecksFailedError,
    DiscoveryFailedError,
    GrpcError,
    KurrentDBClientError,
    ProgrammingError,
    RecordMaxSizeExceededError,
    SSLError,
    StreamTombstonedError,
    TransactionMaxSizeExceededError,
    UnauthenticatedError,
)

from headwater.backends.kurrentdb.url import EXAMPLE, Place
from headwater.errors import BadUrl, HeadwaterError, NotSupported, StoreUnavailable, StreamDeleted, TooLarge

__all__ = ["CALL_SECONDS", "Stale", "Unsure", "append", "connected", "failed", "last_position"]

CALL_SECONDS = 30.0

TOMBSTONED = -6
"""The state of such a stream, as the protocol tells it."""

APPEND_BYTES_MAX = 30 * 1_048_576
"""What one append may hold: its message must be one that the server reads."""


class Stale(Exception):
    """Somebody has written meanwhile: what was decided has to be decided again. ``streams``: where."""

    def __init__(self, streams: Sequence[str] = ()) -> None:
        self.streams = tuple(streams)
        super().__init__(self.streams)


class Unsure(Exception):
    """No answer came to an append, so it may have been made or not, or may still be."""


def connected(place: Place) -> KurrentDBClient:
    """A client. Raises ``BadUrl`` and ``StoreUnavailable``."""
    try:
        return KurrentDBClient(place.connection)
    except (ValueError, ProgrammingError) as error:
        raise BadUrl(place.shown, f"the client can't use it: {error}", EXAMPLE) from None
    except (KurrentDBClientError, OSError) as error:
        failed(place, error)


def failed(place: Place, error: Exception) -> NoReturn:
    """Raise our error for the client's: the store can't be reached, or not so."""
    if isinstance(error, UnauthenticatedError | AccessDeniedError):
        reason, remedy = f"refuses this user: {error}", "Give another name and password in the URL."
    elif isinstance(error, SSLError):
        reason, remedy = f"can't be reached over TLS: {error}", "See tls= and tlsCaFile= in the URL."
    elif isinstance(error, DiscoveryFailedError):
        reason, remedy = f"was not found: {error}", "Is a node up, and reachable from here?"
    else:
        reason, remedy = f"did not answer as it should: {str(error)[:300]}", "Is it up? Nothing was written."
    raise StoreUnavailable(
        f"{place.shown} {reason}", remedy, transient=not isinstance(error, UnauthenticatedError | AccessDeniedError)
    ) from error


def last_position(client: KurrentDBClient, place: Place) -> int:
    """The position of the last event in all of the server."""
    try:
        return client.get_commit_position(filter_exclude=(), timeout=CALL_SECONDS)
    except KurrentDBClientError as error:
        failed(place, error)


def append(
    client: KurrentDBClient, place: Place, records: Sequence[NewRecord], checks: Sequence[StreamStateCheck]
) -> int:
    """Append all records while all checks hold; the position of the last one.

    Raises ``Stale`` where a check does not hold, ``Unsure`` where no answer came, and ``StreamDeleted``, ``TooLarge``,
    ``NotSupported`` and ``StoreUnavailable`` where nothing was written.
    """
    size = sum(len(each.data) + len(each.metadata) for each in records)
    if size > APPEND_BYTES_MAX:
        raise _too_large(size, APPEND_BYTES_MAX)
    try:
        return client.append_records(records, checks, timeout=CALL_SECONDS).commit_position
    except ConsistencyChecksFailedError as changed:
        found = [each.stream_state_failure for each in changed.failures if each.stream_state_failure is not None]
        for each in found:
            if each.actual_state == TOMBSTONED:
                raise StreamDeleted(each.stream_name) from None
        raise Stale([each.stream_name for each in found]) from None
    except KurrentDBClientError as error:
        refused = _refused(error)
        if refused is not None:
            raise refused from None
        if isinstance(error, UnauthenticatedError | AccessDeniedError):
            failed(place, error)
        if isinstance(error, GrpcError) and "UNIMPLEMENTED" in str(error):
            raise NotSupported(
                f"this server ({place.servers})", "appends with checks", "KurrentDB 26.1 and later do."
            ) from None
        raise Unsure(str(error)) from error


def _refused(error: KurrentDBClientError) -> HeadwaterError | None:
    if isinstance(error, StreamTombstonedError):
        return StreamDeleted(error.stream_name or "")
    if isinstance(error, TransactionMaxSizeExceededError | RecordMaxSizeExceededError):
        return _too_large(error.size, error.max_size)
    if "RESOURCE_EXHAUSTED" in str(error) and "larger than max" in str(error):
        return _too_large(APPEND_BYTES_MAX, APPEND_BYTES_MAX)
    return None


def _too_large(size: int, most: int) -> TooLarge:
    remedy = "Append less at a time: KurrentDB takes no more."
    return TooLarge("the append (in bytes, as KurrentDB gets it)", size, "of KurrentDB", most, remedy)
