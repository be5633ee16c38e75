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
    Fenced,
    ForeignCheckpoint,
    HeadwaterError,
    InvalidConsumer,
    InvalidEvent,
    InvalidQuery,
    NotCaughtUp,
    NotSupported,
    OutcomeUnknown,
    StaleRecord,
    StoreUnavailable,
    StreamDeleted,
    TooLarge,
    WrongExpectedVersion,
)
from headwater.events import Event, NewEvent, uuid7
from headwater.limits import Limits
from headwater.projections import (
    Building,
    Comparison,
    Fold,
    InvalidProjection,
    Projection,
    Projector,
    Target,
    TargetFailed,
    View,
    fold,
    handles,
)
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
from headwater.subscriptions import (
    BEGINNING,
    NOW,
    Audit,
    CaughtUp,
    Consumer,
    ConsumerInfo,
    Every,
    FellBehind,
    Parked,
    Retry,
)

__version__ = "0.1.0"

__all__ = [
    "ANY",
    "BEGINNING",
    "NOW",
    "NO_STREAM",
    "STREAM_EXISTS",
    "Append",
    "AppendCondition",
    "AppendConditionFailed",
    "AppendRefused",
    "Appended",
    "Audit",
    "BadUrl",
    "Building",
    "Capabilities",
    "CaughtUp",
    "Checkpoint",
    "Comparison",
    "Consumer",
    "ConsumerInfo",
    "CorruptStore",
    "DuplicateEvent",
    "Event",
    "EventStore",
    "Every",
    "Expected",
    "FellBehind",
    "Fenced",
    "Fold",
    "ForeignCheckpoint",
    "HeadwaterError",
    "InvalidConsumer",
    "InvalidEvent",
    "InvalidProjection",
    "InvalidQuery",
    "Limits",
    "NewEvent",
    "NotCaughtUp",
    "NotSupported",
    "OutcomeUnknown",
    "Parked",
    "Projection",
    "Projector",
    "Query",
    "QueryItem",
    "Retry",
    "Snapshot",
    "StaleRecord",
    "StoreUnavailable",
    "StreamDeleted",
    "StreamInfo",
    "StreamPolicy",
    "Target",
    "TargetFailed",
    "TooLarge",
    "View",
    "WrongExpectedVersion",
    "connect",
    "fold",
    "handles",
    "uuid7",
]
