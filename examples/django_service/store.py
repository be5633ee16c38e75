"""The store in Django: one for each process, and appends that belong to Django's transaction."""

from __future__ import annotations

import os
import threading

from django.conf import settings
from django.db import connection

import headwater as hw
from examples.loans.events import CODEC
from examples.loans.rules import LOAN, Command, Loan
from headwater import sync

_lock = threading.Lock()
_store: sync.EventStore | None = None


def store() -> sync.EventStore:
    """This process's store, opened when it is first asked for. Its threads share it."""
    global _store
    with _lock:
        if _store is None:
            _store = sync.connect(settings.HEADWATER_URL)
        return _store


def _forget() -> None:
    """In a child: the store is the parent's, and the lock may have been held by a thread that is not here."""
    global _lock, _store
    _lock, _store = threading.Lock(), None


os.register_at_fork(after_in_child=_forget)  # servers that load the application before they fork: gunicorn --preload


def load(stream: str) -> hw.Loaded[Loan]:
    """What is known of a loan."""
    return sync.Repository(store(), CODEC, LOAN).load(stream)


def execute(stream: str, command: Command) -> hw.Appended | None:
    """Decide a command, and append what follows in Django's open transaction: with its rows, or not at all.

    None where nothing follows. One command for each stream and transaction: the next one would not see these events
    yet. ``WrongExpectedVersion`` where somebody else was faster; the transaction can't succeed then, so roll it back.
    """
    loaded = load(stream)
    events = [CODEC.encode(event) for event in LOAN.decide(command, loaded.state)]
    if not events:
        return None
    return store().bind(connection.connection).append(stream, events, expected=loaded.expected)
