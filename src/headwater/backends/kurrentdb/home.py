"""What one process has of a store: one index and what follows KurrentDB for it, for all its openings."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import threading
import uuid
from pathlib import Path
from weakref import WeakValueDictionary

import msgspec
from kurrentdbclient import KurrentDBClient, NewEvent, StreamState
from kurrentdbclient.exceptions import KurrentDBClientError, NotFoundError, WrongCurrentVersionError

from headwater.backends.kurrentdb.client import CALL_SECONDS, connected, failed
from headwater.backends.kurrentdb.follower import Follower
from headwater.backends.kurrentdb.index import IDENTITY, opened
from headwater.backends.kurrentdb.records import STORE, Identity
from headwater.backends.kurrentdb.url import Place
from headwater.backends.kurrentdb.writer import KurrentDBWriter
from headwater.backends.sqlite.connections import StoreFile
from headwater.backends.sqlite.mirror import fact, keep, owned_file
from headwater.errors import CorruptStore, StoreUnavailable
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
    client: KurrentDBClient
    follower: Follower
    writer: KurrentDBWriter
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
        self.client = held.enter_context(connected(place))
        self.identity = _identity(self.client, place)
        self.file = StoreFile(place.index or Path(held.enter_context(_temporary())) / "index.db")
        held.enter_context(owned_file(self.file.path))
        self.connection = opened(self.file)
        held.callback(self.connection.close)
        self._check_index(place)
        self.follower = Follower(place, self.client, self.file, opened(self.file), self.signal.notify)
        held.callback(self.follower.close)
        self.follower.start()
        self.follower.to_end()
        self.writer = KurrentDBWriter(self.connection, self.file, self.signal.notify, place, self.client, self.follower)
        held.callback(self.writer.close)

    def _check_index(self, place: Place) -> None:
        known = fact(self.connection, IDENTITY)
        if known not in ("", self.identity):
            raise CorruptStore(
                str(self.file.path),
                f"it is the index of the store {known}; {place.shown} is {self.identity}",
                "Name another file as index=, or remove this one: it is made again from the server.",
            )
        keep(self.connection, IDENTITY, self.identity)
        keep(self.connection, "identity", self.identity)


def _identity(client: KurrentDBClient, place: Place) -> str:
    """What the store is called; given where it is new."""
    try:
        found = _found(client) or (_made(client) if place.create else None)
    except KurrentDBClientError as error:
        failed(place, error)
    if found is None:
        raise StoreUnavailable(f"{place.shown} holds no store", "Open it once without create=no.", transient=False)
    if found.format != 1:
        raise StoreUnavailable(
            f"{place.shown} has format {found.format}, made by a newer Headwater", "Upgrade headwater.", transient=False
        )
    return found.identity


def _found(client: KurrentDBClient) -> Identity | None:
    try:
        (first,) = client.get_stream(STORE, limit=1, timeout=CALL_SECONDS)
    except NotFoundError:
        return None
    return msgspec.json.decode(first.data, type=Identity)


def _made(client: KurrentDBClient) -> Identity | None:
    made = Identity(str(uuid.uuid4()))
    event = NewEvent("Headwater.store", data=msgspec.json.encode(made))
    try:
        client.append_to_stream(STORE, current_version=StreamState.NO_STREAM, events=event, timeout=CALL_SECONDS)
    except WrongCurrentVersionError:  # another process was quicker
        return _found(client)
    return made


def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="headwater-kurrentdb-", ignore_cleanup_errors=True)
