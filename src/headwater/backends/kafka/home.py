"""What one process has of a store: one index, one thread that follows, and at most one owner, for all its openings."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import threading
from pathlib import Path
from weakref import WeakValueDictionary

from headwater.backends.kafka.clients import admin_of, ensure_topics
from headwater.backends.kafka.follower import Follower
from headwater.backends.kafka.index import keep_new_name, opened
from headwater.backends.kafka.owner import Ownership
from headwater.backends.kafka.url import Place
from headwater.backends.kafka.writer import KafkaWriter
from headwater.backends.sqlite.connections import StoreFile
from headwater.backends.sqlite.mirror import fact, owned_file
from headwater.errors import StoreUnavailable
from headwater.waiting import Signal

__all__ = ["Home", "home_of"]

_homes: WeakValueDictionary[tuple[int, str], Home] = WeakValueDictionary()
_guard = threading.Lock()


def home_of(url: str) -> Home:
    """This process's home of the store at a URL. ``join`` it before use, and ``leave`` it once."""
    with _guard:
        key = os.getpid(), url  # a forked child must not take its parent's
        home = _homes.get(key)
        if home is None:
            home = _homes[key] = Home()
        return home


class Home:
    """Open from the first that joins to the last that leaves."""

    file: StoreFile
    connection: sqlite3.Connection
    follower: Follower
    ownership: Ownership
    writer: KafkaWriter
    identity: str

    def __init__(self) -> None:
        self.signal = Signal()
        """Given when something new is in the index."""
        self._lock = threading.Lock()
        self._users = 0
        self._held = contextlib.ExitStack()

    def join(self, place: Place) -> None:
        """Use it. Raises as ``open`` of this room does."""
        with self._lock:
            if not self._users:
                with contextlib.ExitStack() as held:
                    self._open(place, held)
                    self._held = held.pop_all()
            self._users += 1

    def leave(self) -> None:
        """Use it no more."""
        with self._lock:
            self._users -= 1
            if not self._users:
                self._held.close()
        self.signal.notify()

    def _open(self, place: Place, held: contextlib.ExitStack) -> None:
        admin = admin_of(place)
        ensure_topics(admin, place)
        self.file = StoreFile(place.index or Path(held.enter_context(_temporary())) / "index.db")
        held.enter_context(owned_file(self.file.path))
        self.connection = opened(self.file)
        held.callback(self.connection.close)
        self.follower = Follower(place, admin, self.file, opened(self.file), self.signal.notify)
        held.callback(self.follower.close)
        self.ownership = Ownership(place, admin, self.follower, keep_new_name(self.connection))
        self.follower.start()
        self.follower.to_end()
        if self.follower.store is None:
            if not place.create:
                raise StoreUnavailable(
                    f"{place.shown} holds no store", "Open it once without create=no.", transient=False
                )
            self.ownership.make_store()
        self.identity = fact(self.connection, "identity")
        self.writer = KafkaWriter(
            self.connection, self.file, self.signal.notify, self.ownership, self.follower, self.identity
        )
        held.callback(self.writer.close)


def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="headwater-kafka-", ignore_cleanup_errors=True)
