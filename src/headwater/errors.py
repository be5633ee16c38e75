"""The family of errors. Each carries its facts as attributes, and a sentence that says what to do.

::

    HeadwaterError
    ├── AppendRefused              the store said no; nothing was written
    │   ├── WrongExpectedVersion   the stream is not at the version the writer believed
    │   ├── AppendConditionFailed  an event that matches the condition's query exists
    │   ├── DuplicateEvent         some of the ids exist already, but not as this same append
    │   └── StreamDeleted          the stream's name was tombstoned
    ├── InvalidEvent               the event, name or query can't be stored as given
    │   ├── InvalidQuery
    │   └── TooLarge               over a limit
    ├── StoreUnavailable           the store can't be reached or written just now
    │   └── NotOwner               another process is the one that appends
    ├── OutcomeUnknown             the connection broke and it is not known whether the append was written
    ├── NotSupported               this backend can't do that, and says so in ``capabilities``
    ├── CorruptStore               what is stored breaks a promise
    ├── ForeignCheckpoint          the checkpoint belongs to another store
    ├── InvalidConsumer            a consumer can't be run as asked
    ├── Fenced                     another member has taken over this one's share
    ├── MissingKey                 the vault has never had the key that personal data are sealed under
    ├── StaleRecord                what is kept beside the log was changed by somebody else
    ├── NotCaughtUp                a consumer or a projection did not come so far in time
    └── BadUrl                     the store's URL is not understood
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = [
    "AppendConditionFailed",
    "AppendRefused",
    "BadUrl",
    "CorruptStore",
    "DuplicateEvent",
    "Fenced",
    "ForeignCheckpoint",
    "HeadwaterError",
    "InvalidConsumer",
    "InvalidEvent",
    "InvalidQuery",
    "MissingKey",
    "NotCaughtUp",
    "NotOwner",
    "NotSupported",
    "OutcomeUnknown",
    "StaleRecord",
    "StoreUnavailable",
    "StreamDeleted",
    "TooLarge",
    "WrongExpectedVersion",
]


def _shown(value: object, most: int = 120) -> str:
    """``value`` as it may stand in a message: quoted, and never longer than ``most`` characters."""
    text = repr(value)
    return text if len(text) <= most else text[: most - 1] + "…"


class HeadwaterError(Exception):
    """Root of all errors that Headwater raises on purpose. They pickle, with their facts."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _revived, (type(self), str(self), self.__dict__)


def _revived(kind: type[HeadwaterError], message: str, facts: dict[str, Any]) -> HeadwaterError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(facts)
    return error


class AppendRefused(HeadwaterError):
    """The store refused an append. Nothing of it was written."""


class WrongExpectedVersion(AppendRefused):
    """The stream is not at the version that the writer expected: somebody else wrote in between.

    Attributes: ``stream``; ``expected`` (``NO_STREAM``, ``STREAM_EXISTS`` or a number); ``actual``, the stream's
    version now (0 = no such stream).
    """

    def __init__(self, stream: str | None, expected: object, actual: int) -> None:
        self.stream = stream
        self.expected = expected
        self.actual = actual
        found = f"is at version {actual}" if actual else "does not exist"
        super().__init__(
            f"stream {_shown(stream)} {found}, the append expected {expected}. "
            "Read the stream again, decide again, and append with the version you read."
        )


class AppendConditionFailed(AppendRefused):
    """An event that matches the condition's query exists after the condition's position.

    Attributes: ``condition``; ``position``, the position of one such event, where the backend knows it.
    """

    def __init__(self, condition: object, position: int | None = None) -> None:
        self.condition = condition
        self.position = position
        where = f" (at position {position})" if position else ""
        super().__init__(
            f"an event that matches the append condition was stored after position "
            f"{getattr(condition, 'after', 0)}{where}. Read the query again, decide again, "
            "and append with the position you read up to."
        )


class DuplicateEvent(AppendRefused):
    """Some ids of the append are stored already, but not as this same append.

    The same ids in the same streams and order are a retry and succeed; anything between is a mistake of the writer.
    Attribute: ``ids``, those that are stored (or stand twice in the append).
    """

    def __init__(self, ids: Sequence[object], reason: str) -> None:
        self.ids = tuple(ids)
        self.reason = reason
        super().__init__(
            f"{reason}: {', '.join(str(each) for each in self.ids[:3])}{' …' if len(self.ids) > 3 else ''}. "
            "To retry an append, send exactly the same events; for a new event, use a new id."
        )


class StreamDeleted(AppendRefused):
    """The stream was tombstoned: its name can never be used again. Attribute: ``stream``."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(f"stream {_shown(stream)} is tombstoned and takes no events. Use another stream name.")


class InvalidEvent(HeadwaterError, ValueError):
    """An event, a name or another argument can't be stored as given. Nothing was written.

    Attributes: ``what`` was wrong; ``expected``, what would have been right.
    """

    def __init__(self, what: str, expected: str) -> None:
        self.what = what
        self.expected = expected
        super().__init__(f"{what}. {expected}")


class InvalidQuery(InvalidEvent):
    """A query, a position or a policy is not well formed. Attributes as ``InvalidEvent``."""


class TooLarge(InvalidEvent):
    """Something is over a limit. Attributes: ``subject``, ``size``, ``limit`` (its name), ``most`` (its value).

    ``remedy`` where it is no limit of ``Limits``, but one of the technology.
    """

    def __init__(self, subject: str, size: int, limit: str, most: int, remedy: str | None = None) -> None:
        self.subject = subject
        self.size = size
        self.limit = limit
        self.most = most
        super().__init__(
            f"{subject} has {size:,}, over the limit {limit} of {most:,}",
            remedy or f"Make it smaller, or open the store with limits=Limits({limit}=…).",
        )


class StoreUnavailable(HeadwaterError):
    """The store can't be reached, read or written just now. Nothing of this call was written.

    Attributes: ``reason``; ``remedy``; ``transient``, True where the same call may succeed later.
    """

    def __init__(self, reason: str, remedy: str, *, transient: bool = True) -> None:
        self.reason = reason
        self.remedy = remedy
        self.transient = transient
        super().__init__(f"{reason}. {remedy}")


class NotOwner(StoreUnavailable):
    """Only one process at a time appends to this store, and another one is it. Nothing of this call was written.

    Attributes beside those of ``StoreUnavailable``: ``owner``, where that one is, '' where that is not known;
    ``seconds`` until it may be replaced, unless it gives a sign of life.
    """

    def __init__(self, store: str, owner: str, seconds: float) -> None:
        self.owner = owner
        self.seconds = seconds
        super().__init__(
            f"{store} is owned by {owner or 'another process'}",
            f"Append there; or stop it; or wait: without a sign of life for {seconds:.0f} s, this one takes over.",
        )


class OutcomeUnknown(HeadwaterError):
    """The store went away during an append, and could not be asked afterwards whether it was written.

    Send the very same events again when the store is back: their ids make the retry safe. Attribute: ``ids``.
    """

    def __init__(self, ids: Sequence[object], reason: str) -> None:
        self.ids = tuple(ids)
        self.reason = reason
        super().__init__(
            f"{reason}, and it is not known whether the append of {len(self.ids)} event(s) was written. "
            "Append the same events (same ids) again when the store is back: if they were written, "
            "the first result is returned and nothing is doubled."
        )


class NotSupported(HeadwaterError):
    """The backend can't do what was asked, and says so in its capabilities. Attributes: ``backend``, ``feature``."""

    def __init__(self, backend: str, feature: str, remedy: str) -> None:
        self.backend = backend
        self.feature = feature
        self.remedy = remedy
        super().__init__(f"{backend} does not support {feature}. {remedy}")


class CorruptStore(HeadwaterError):
    """What is stored is not a store that this Headwater can trust. Attributes: ``store``, ``finding``, ``remedy``."""

    def __init__(self, store: str, finding: str, remedy: str) -> None:
        self.store = store
        self.finding = finding
        self.remedy = remedy
        super().__init__(f"{store}: {finding}. {remedy}")


class ForeignCheckpoint(HeadwaterError):
    """The checkpoint was taken in another store (or an earlier life of this one), so its position means nothing here.

    Attributes: ``checkpoint``; ``identity`` of this store; ``head`` of this store.
    """

    def __init__(self, checkpoint: object, identity: str, head: int | None = None) -> None:
        self.checkpoint = checkpoint
        self.identity = identity
        self.head = head
        found = (
            f"is ahead of this store, whose head is {head} (was it restored from a backup?)"
            if head is not None
            else f"was not taken in this store ({identity})"
        )
        super().__init__(
            f"checkpoint {checkpoint} {found}. Start the consumer from a position of this store, or open the right one."
        )


class InvalidConsumer(HeadwaterError, ValueError):
    """A consumer can't be run as asked. Attributes: ``consumer``, its name; ``problem``; ``remedy``."""

    def __init__(self, consumer: str, problem: str, remedy: str) -> None:
        self.consumer = consumer
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"consumer {_shown(consumer)} {problem}. {remedy}")


class StaleRecord(HeadwaterError):
    """A record beside the log is not at the revision that the writer knew. Nothing was written. Attribute: ``name``."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"the record {_shown(name)} was changed by somebody else. Load it again and decide again.")


class Fenced(HeadwaterError):
    """Another member has taken over a share of a consumer, so nothing more of it may be written here.

    Attributes: ``consumer``; ``part``, the number of the share.
    """

    def __init__(self, consumer: str, part: int) -> None:
        self.consumer = consumer
        self.part = part
        super().__init__(
            f"part {part} of consumer {_shown(consumer)} was taken over by another member, or rewound. "
            "What was handled after its last checkpoint will be handled again there."
        )


class MissingKey(HeadwaterError):
    """Personal data are sealed under a key that the vault neither has nor has destroyed: it is another vault, or an
    older copy. Attributes: ``subject``; ``key``, its id.
    """

    def __init__(self, subject: str, key: str) -> None:
        self.subject = subject
        self.key = key
        super().__init__(
            f"the key {key} of subject {_shown(subject)} is not in the vault, and was not destroyed there. "
            "Open the store with the vault that its events were sealed with."
        )


class NotCaughtUp(HeadwaterError, TimeoutError):
    """A consumer or projection did not come as far as was waited for. Attributes: ``name``, ``wanted``, ``reached``."""

    def __init__(self, name: str, wanted: int, reached: int, seconds: float) -> None:
        self.name = name
        self.wanted = wanted
        self.reached = reached
        super().__init__(
            f"{name} came to position {reached} of {wanted} in {seconds:g} s. "
            "Wait longer, or look whether it runs: headwater consumers list."
        )


class BadUrl(HeadwaterError, ValueError):
    """The URL names no store to open. Attributes: ``url`` (without its password), ``problem``, ``remedy``."""

    def __init__(self, url: str, problem: str, remedy: str) -> None:
        self.url = url
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{_shown(url)}: {problem}. {remedy}")
