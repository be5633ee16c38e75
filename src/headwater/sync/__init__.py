"""The same store for code without asyncio: the same names and arguments, no ``await``, plain iterators.

>>> from headwater import sync
>>> with sync.connect("sqlite:///loans.db") as store:
...     store.append("loan-173688", [NewEvent("LoanRequested", {"amount": 20000})])

A thin face over ``headwater.EventStore``, with two drivers. Backends that never need an event loop (memory, SQLite)
are stepped in the caller's own thread. The others run on one background event loop per process, started on first
use, so each process that was forked has its own. Iterators cross over by page, never by event.

Consumers and reactors handle events on an event loop: one of their own in the thread that runs them, or the background
loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headwater.connect import open_store
from headwater.limits import Limits
from headwater.subscriptions import BlockingReaction as Reaction
from headwater.sync.consuming import Consumer, Consumers, ParkedEvents, ScheduledEvents
from headwater.sync.deciding import Boundary, Repository, execute_all
from headwater.sync.driving import BackgroundLoop, refuse_running_loop
from headwater.sync.keeping import Checkpoints, Snapshots
from headwater.sync.store import BoundStore, EventStore

if TYPE_CHECKING:
    from headwater.personal import KeyWrapper

__all__ = [
    "BoundStore",
    "Boundary",
    "Checkpoints",
    "Consumer",
    "Consumers",
    "EventStore",
    "ParkedEvents",
    "Reaction",
    "Repository",
    "ScheduledEvents",
    "Snapshots",
    "connect",
    "execute_all",
]


def connect(
    url: str, *, limits: Limits | None = None, vault: str | None = None, wrapper: KeyWrapper | None = None
) -> EventStore:
    """Open the store at ``url``; made where it does not exist yet. Arguments and errors as of ``headwater.connect``.

    Use ``with connect(url) as store:``, or ``store = connect(url)`` and ``store.close()``.
    """
    refuse_running_loop()
    return EventStore(BackgroundLoop().run(open_store(url, limits, vault, wrapper)))
