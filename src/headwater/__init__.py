"""Headwater: the event store for Python. One small API over many homes for events, with the same proven promises.

>>> import headwater as hw
>>> async with hw.connect("sqlite:///loans.db") as store:
...     await store.append("loan-173688", [hw.NewEvent("LoanRequested", {"amount": 20000})], expected=hw.NO_STREAM)
"""

from __future__ import annotations

from headwater.backend import (
    Appended,
    Capabilities,
    Checkpoint,
    Snapshot,
    StreamInfo,
    StreamPolicy,
)
from headwater.connect import connect
from headwater.errors import (
    AppendConditionFailed,
    AppendRefused,
    BadUrl,
    CorruptStore,
    DuplicateEvent,
    ForeignCheckpoint,
    HeadwaterError,
    InvalidEvent,
    InvalidQuery,
    NotSupported,
    OutcomeUnknown,
    StoreUnavailable,
    StreamDeleted,
    TooLarge,
    WrongExpectedVersion,
)
from headwater.events import Event, NewEvent, uuid7
from headwater.limits import Limits
from headwater.queries import (
    ANY,
    NO_STREAM,
    STREAM_EXISTS,
    AppendCondition,
    Expected,
    Query,
    QueryItem,
)
from headwater.store import Append, EventStore

__version__ = "0.1.0"

__all__ = [
    "ANY",
    "NO_STREAM",
    "STREAM_EXISTS",
    "Append",
    "AppendCondition",
    "AppendConditionFailed",
    "AppendRefused",
    "Appended",
    "BadUrl",
    "Capabilities",
    "Checkpoint",
    "CorruptStore",
    "DuplicateEvent",
    "Event",
    "EventStore",
    "Expected",
    "ForeignCheckpoint",
    "HeadwaterError",
    "InvalidEvent",
    "InvalidQuery",
    "Limits",
    "NewEvent",
    "NotSupported",
    "OutcomeUnknown",
    "Query",
    "QueryItem",
    "Snapshot",
    "StoreUnavailable",
    "StreamDeleted",
    "StreamInfo",
    "StreamPolicy",
    "TooLarge",
    "WrongExpectedVersion",
    "connect",
    "uuid7",
]
