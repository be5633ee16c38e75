"""Export: the events of a store as JSON Lines, in the order of the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from headwater.lifecycle.archive import line_of
from headwater.queries import Query
from headwater.store import EventStore

__all__ = ["export_events"]

_BLOCK_BYTES = 262_144


async def export_events(
    store: EventStore,
    to: BinaryIO,
    *,
    query: Query | None = None,
    after: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write the events after a position that match ``query`` to a file, up to the present head of the log.

    Events hidden by a stream's policy or deletion are among them: the log is the log. ``on_progress`` is called now
    and then with the position reached and the head. Returns the number of events written.
    """
    head = await store.head()
    count = size = 0
    block = []
    async for event in store.read_all(after=after, before=head + 1, query=query):
        line = line_of(event)
        block.append(line)
        count += 1
        size += len(line)
        if size >= _BLOCK_BYTES:
            to.write(b"".join(block))
            block, size = [], 0
            if on_progress:
                on_progress(event.position, head)
    to.write(b"".join(block))
    return count
