"""The threads that follow KurrentDB: one receives what was recorded, one lets the index have it, commit by commit.

The index is written by nobody else. A commit of ours counts once it has come back this way, so what every process has
in its index is one and the same log.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from kurrentdbclient import KurrentDBClient, RecordedEvent
from kurrentdbclient.exceptions import KurrentDBClientError

from headwater.backends.kurrentdb.client import last_position
from headwater.backends.kurrentdb.index import OFFSET, apply
from headwater.backends.kurrentdb.records import COMMITS, STORE, commit_of, is_own
from headwater.backends.kurrentdb.url import Place
from headwater.backends.sqlite.connections import StoreFile, begin
from headwater.backends.sqlite.mirror import fact
from headwater.backends.sqlite.transaction import Heads, Transaction
from headwater.errors import HeadwaterError, StoreUnavailable

__all__ = ["Follower"]

BATCH = 500
"""Records that are applied in one transaction of the index, and as many are received ahead."""
RETRY_SECONDS = 0.5
WAIT_SECONDS = 30.0
TOKENS = 10_000
"""Commits that are remembered: the one that is asked for is among the last."""


class Follower:
    """Follows until it is closed. What it has seen may be asked in any thread."""

    def __init__(
        self,
        place: Place,
        client: KurrentDBClient,
        file: StoreFile,
        connection: sqlite3.Connection,
        applied: Callable[[], None],
    ) -> None:
        """``applied`` is told when something new is in the index."""
        self._place = place
        self._client = client
        self._file = file
        self._connection = connection
        self._applied = applied
        self._heads = Heads(connection)
        self.turn = threading.Lock()
        """Held by whoever is in a transaction of the index."""
        self._seen = int(fact(connection, OFFSET))
        self._changed = threading.Condition()
        self._received: queue.Queue[RecordedEvent | None] = queue.Queue(BATCH)  # None wakes who waits for more
        self._begun: list[RecordedEvent] = []  # of a commit whose end has not come
        self._tokens: deque[tuple[str, int]] = deque(maxlen=TOKENS)
        self._subscription: Iterator[RecordedEvent] | None = None
        self._closing = threading.Event()
        self.failure: HeadwaterError | None = None
        """Why it follows no more."""
        self._threads = [
            threading.Thread(target=self._receive, name="headwater-kurrentdb-receiver", daemon=True),
            threading.Thread(target=self._apply, name="headwater-kurrentdb-follower", daemon=True),
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Follow no more."""
        self._closing.set()
        subscription = self._subscription
        if subscription is not None:
            subscription.stop()  # type: ignore[attr-defined]
        with contextlib.suppress(queue.Full):
            self._received.put_nowait(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self._connection.close()

    @property
    def seen(self) -> int:
        """The position up to which everything is in the index."""
        return self._seen

    def check(self) -> None:
        """Raise where it follows no more."""
        if self.failure is not None:
            raise self.failure

    def to_end(self) -> int:
        """Wait until the index has all that is recorded by now; up to which position that is."""
        position = last_position(self._client, self._place)
        self.to(position)
        return position

    def to(self, position: int) -> None:
        """Wait until the index has everything up to a position. Raises ``StoreUnavailable``."""
        until = time.monotonic() + WAIT_SECONDS
        with self._changed:
            while self._seen < position:
                before = self._seen
                self.check()
                self._changed.wait(0.5)
                if self._seen > before:
                    until = time.monotonic() + WAIT_SECONDS  # it goes on: a long log takes its time
                elif time.monotonic() > until:
                    raise StoreUnavailable(
                        f"{self._place.shown} sent nothing for {WAIT_SECONDS:g} s, and the index is at {self._seen} "
                        f"of {position}",
                        "Can it be reached from here?",
                    )

    def place_of(self, token: str) -> int | None:
        """The position of the commit with this token, where it was seen."""
        with self._changed:
            return next((position for each, position in reversed(self._tokens) if each == token), None)

    def _receive(self) -> None:
        last = self._seen
        while not self._closing.is_set():
            try:
                self._subscription = self._client.subscribe_to_all(
                    commit_position=last or None, filter_exclude=(), filter_include=()
                )
                for recorded in self._subscription:
                    last = recorded.commit_position
                    self._put(recorded)
                    if self._closing.is_set():
                        return
            except KurrentDBClientError:
                self._closing.wait(RETRY_SECONDS)  # it is away, or its leader has changed

    def _put(self, recorded: RecordedEvent) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(queue.Full):
                self._received.put(recorded, timeout=0.5)
                return

    def _apply(self) -> None:
        try:
            while not self._closing.is_set():
                batch = self._batch()
                if batch:
                    self._let_have(batch)
        except HeadwaterError as error:
            self._fail(error)
        except sqlite3.Error as error:
            self._fail(StoreUnavailable(f"the index {self._file.path} failed: {error}", "See to the disk, and reopen."))

    def _fail(self, error: HeadwaterError) -> None:
        with self._changed:
            self.failure = error
            self._changed.notify_all()
        self._applied()

    def _batch(self) -> list[RecordedEvent]:
        """What has come, at least one unless the time is over."""
        batch: list[RecordedEvent | None] = []
        with contextlib.suppress(queue.Empty):
            batch.append(self._received.get(timeout=0.5))
            while len(batch) < BATCH:
                batch.append(self._received.get_nowait())
        return [recorded for recorded in batch if recorded is not None]

    def _let_have(self, batch: list[RecordedEvent]) -> None:
        """Apply whole commits, and what other clients have appended; keep what is begun until its end comes."""
        whole: list[RecordedEvent] = []
        tokens: list[tuple[str, int]] = []
        for recorded in batch:
            if recorded.stream_name == STORE or (recorded.stream_name.startswith("$") and not is_own(recorded)):
                continue  # what the store is called, and the system's own
            self._begun.append(recorded)
            if recorded.stream_name == COMMITS:
                tokens.append((commit_of(recorded), recorded.commit_position))
            if recorded.stream_name == COMMITS or not is_own(self._begun[0]):
                whole += self._begun
                self._begun = []
        if whole:
            with self.turn:
                self._transact(whole)
        with self._changed:
            self._tokens.extend(tokens)
            if not self._begun:
                self._seen = batch[-1].commit_position
            self._changed.notify_all()
        if whole:
            self._applied()

    def _transact(self, records: list[RecordedEvent]) -> None:
        connection = self._connection
        begin(connection, self._file)
        try:
            self._heads.refresh()
            transaction = Transaction(connection, self._heads, look_ids_up=False)
            apply(transaction, records)
            transaction.flush()
            connection.execute("commit")
        except BaseException:
            self._heads.forget()
            if connection.in_transaction:
                connection.execute("rollback")
            raise
