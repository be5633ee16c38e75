"""Heads of streams: what is checked before an append, and what must still be so when it is committed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from headwater.backend import StreamInfo, StreamPolicy, StreamState
from headwater.backends.dynamodb.keys import head_key
from headwater.backends.dynamodb.requests import NEW, Item, Where
from headwater.backends.dynamodb.service import Service
from headwater.events import category_of

__all__ = ["UNWRITTEN", "Head", "Heads", "head_of", "info_of"]

KEPT_MAX = 10_000
"""Heads that a process remembers."""


class Head(msgspec.Struct, frozen=True):
    """The head of a stream."""

    version: int = 0
    sequenced: int = 0
    """Versions up to here are known to have positions."""
    state: StreamState = "open"
    hidden: int = 0
    """Versions up to here were deleted."""
    created_us: int = 0
    last_us: int = 0
    policy: StreamPolicy = StreamPolicy()
    exists: bool = False
    """Whether there is an item for it."""

    @property
    def where(self) -> Where:
        """What a transaction asks for, so that it holds what was checked on this head."""
        return {"v": self.version, "st": self.state} if self.exists else NEW

    def first_version(self) -> int:
        """The first version that a reader may see, as far as that does not depend on the time."""
        first = max(self.hidden + 1, self.policy.truncate_before, 1)
        if self.policy.max_count is not None:
            first = max(first, self.version - self.policy.max_count + 1)
        return min(first, self.version + 1)

    def item(self, stream: str) -> Item:
        """The whole item."""
        p, k = head_key(stream)
        return {"p": p, "k": k, **self.attributes()}

    def attributes(self) -> dict[str, Any]:
        """All attributes but the key."""
        age = self.policy.max_age
        return {
            "v": self.version,
            "q": self.sequenced,
            "st": self.state,
            "hid": self.hidden or None,
            "c": self.created_us,
            "l": self.last_us,
            "tb": self.policy.truncate_before or None,
            "ma": None if age is None else age // timedelta(microseconds=1),
            "mc": self.policy.max_count,
        }


UNWRITTEN = Head()


def head_of(item: Item | None) -> Head:
    """The head that an item tells of; ``UNWRITTEN`` where there is none."""
    if item is None:
        return UNWRITTEN
    age = item.get("ma")
    policy = StreamPolicy(item.get("tb", 0), None if age is None else timedelta(microseconds=age), item.get("mc"))
    return Head(item["v"], item["q"], item["st"], item.get("hid", 0), item["c"], item["l"], policy, exists=True)


def info_of(stream: str, head: Head, first_version: int) -> StreamInfo:
    """What the store tells of a stream."""
    return StreamInfo(
        stream, category_of(stream), head.version, first_version, head.created_us, head.last_us, head.state, head.policy
    )


class Heads:
    """Reads heads, and remembers those that were met last. What is remembered may be stale: a transaction finds out."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._known: OrderedDict[str, Head] = OrderedDict()

    def known(self, streams: Sequence[str]) -> dict[str, Head] | None:
        """What is remembered of these streams; None where something is not."""
        if all(stream in self._known for stream in streams):
            return {stream: self._known[stream] for stream in streams}
        return None

    async def read(self, streams: Sequence[str]) -> dict[str, Head]:
        """The heads as they are now."""
        if not streams:
            return {}
        if len(streams) == 1:
            heads = {streams[0]: head_of(await self._service.get(head_key(streams[0])))}
        else:
            items = await self._service.get_many([head_key(stream) for stream in streams])
            heads = {stream: head_of(items.get(head_key(stream))) for stream in streams}
        for stream, head in heads.items():
            before = self._known.get(stream)
            if before is not None and before.sequenced > head.sequenced:  # what this process itself saw sequenced
                heads[stream] = head = msgspec.structs.replace(head, sequenced=before.sequenced)
            self.note(stream, head)
        return heads

    def note(self, stream: str, head: Head) -> None:
        """Remember a head."""
        self._known[stream] = head
        self._known.move_to_end(stream)
        if len(self._known) > KEPT_MAX:
            self._known.popitem(last=False)

    def sequenced(self, stream: str, version: int) -> None:
        """The events of a stream up to this version have positions."""
        known = self._known.get(stream)
        if known is not None and known.sequenced < version:
            self._known[stream] = msgspec.structs.replace(known, sequenced=version)

    def forget(self, streams: Iterable[str]) -> None:
        """Something was not as remembered."""
        for stream in streams:
            self._known.pop(stream, None)
