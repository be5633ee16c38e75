"""Waking readers: this process's own at once, other processes' by NOTIFY.

A NOTIFY is sent after the append was answered, in a transaction of its own: PostgreSQL lets transactions that notify
commit one after the other. Many appends share one. It only ever says "look": nothing depends on its arrival, as
readers also look by themselves, seldom where notifications were seen to arrive, often where they were not (a pooler
may swallow them).
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from contextlib import suppress

import psycopg
from psycopg.sql import SQL, Identifier

from headwater.backends.postgres.connections import Connections
from headwater.backends.postgres.url import Target
from headwater.errors import HeadwaterError
from headwater.waiting import Signal

__all__ = ["LOOK_FIRST", "LOOK_MOST_DEAF", "Wakeup", "channel_of"]

PAUSE_SECONDS = 0.01
"""Between two notifications of one store: so many appends as come in it share the next."""
REOPEN_SECONDS = 5.0
"""Before a listening connection that broke is opened again."""
CLOSING_SECONDS = 1.0
"""How long a store that is closed takes at most to tell of its last appends: a program may append once and end."""
LOOK_FIRST = 0.005
LOOK_MOST = 0.25
LOOK_MOST_DEAF = 0.1
"""Seconds between a waiting reader's own looks: at first; at most; at most where no notification was seen."""


class Wakeup:
    """Tells of appends and hears of them. Bound to the event loop that it is first used in."""

    def __init__(
        self, connections: Connections, target: Target, statement: str, channel: str, look_most: float = LOOK_MOST
    ) -> None:
        self._connections = connections
        self._target = target
        self._statement = statement
        self._channel = channel
        self._look_most = look_most  # where notifications arrive; less where not everybody sends them
        self._name = uuid.uuid4().hex
        self._signal = Signal()
        self._untold = False
        self._telling: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._hearing = False
        self._closed = False

    def stored(self) -> None:
        """Events were stored and their append answered."""
        self._signal.notify()
        self._untold = True
        if self._telling is None and not self._closed:
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    @property
    def look_most(self) -> float:
        """The longest pause, in seconds, between a waiting reader's own looks."""
        return self._look_most if self._hearing else LOOK_MOST_DEAF

    def listen(self) -> Signal:
        """The signal that is given when events may have come; from now on, of other processes' too."""
        if self._listening is None and not self._closed:
            self._listening = asyncio.get_running_loop().create_task(self._listen())
        return self._signal

    async def _tell(self) -> None:
        try:
            while self._untold:
                self._untold = False
                with suppress(HeadwaterError):  # the server is away: readers will look by themselves
                    await self._connections.rows(self._statement, (self._channel, self._name))
                if not self._closed:
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            self._telling = None

    async def _listen(self) -> None:
        while True:
            with suppress(psycopg.Error):
                await self._hear()
            self._hearing = False
            await asyncio.sleep(REOPEN_SECONDS)

    async def _hear(self) -> None:
        """Hear until the connection breaks."""
        async with await psycopg.AsyncConnection.connect(self._target.conninfo, autocommit=True) as connection:
            await connection.execute(SQL("LISTEN {}").format(Identifier(self._channel)))
            self.stored()  # hear ourselves: then notifications arrive; and look, for something may just have come
            async for notification in connection.notifies():
                self._hearing = True
                if notification.payload != self._name:  # our own appends woke our readers already
                    self._signal.notify()

    async def close(self) -> None:
        """Wake all readers, tell of the last appends, hear nothing more."""
        self._closed = True
        self._signal.notify()
        if self._telling is not None:
            await asyncio.wait({self._telling}, timeout=CLOSING_SECONDS)
        tasks = [task for task in (self._telling, self._listening) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def channel_of(schema: str) -> str:
    """The channel of a store: PostgreSQL cuts names after 63 bytes, so the schema stands in it as a digest."""
    return f"headwater_{hashlib.sha256(schema.encode()).hexdigest()[:32]}"
