"""What PostgreSQL and its driver say when something fails, in our words. No message holds a password."""

from __future__ import annotations

import enum

import psycopg
from psycopg import errors
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from headwater.backends.postgres.url import Target
from headwater.errors import CorruptStore, HeadwaterError, StoreUnavailable

__all__ = ["Fault", "fault_of", "translated"]


class Fault(enum.Enum):
    """What can be done about a failed call."""

    LOST = "the connection broke: whether the call was done can be asked on another one"
    RACE = "another transaction came in between: nothing was done, and the same call may succeed now"
    ROOM = "no partition for these positions yet: make it, and repeat the call"
    DATA = "the server can't take a value in this form"
    FINAL = "repeating the call would not help"


_LOST = ("08", "57P01", "57P02", "57P03", "57P05", "25P03", "25P04")  # connection exceptions, shutdown, crash, start
_RACE = ("40001", "40P01", "55P03", "23505")  # serialization, deadlock, lock_timeout, an id that came in between
_DATA = ("22", "54001")  # data exceptions; JSON too deep for the server's stack


def fault_of(error: psycopg.Error, *, closed: bool = False) -> Fault:
    """Which kind of failure it is. ``closed``: the call's connection is closed now."""
    state = error.sqlstate or ""
    if state.startswith(_LOST) or (closed and isinstance(error, psycopg.OperationalError)):
        return Fault.LOST
    if state in _RACE:
        return Fault.RACE
    if state == "23514" and error.diag.constraint_name is None:  # no constraint refused the row: no partition took it
        return Fault.ROOM
    return Fault.DATA if state.startswith(_DATA) else Fault.FINAL


_REMEDIES: dict[str, tuple[str, bool]] = {
    "53300": ("Raise max_connections, or give the URL a smaller pool=.", True),
    "53100": ("Free some disk on the server.", True),
    "25006": ("Name the primary server in the URL; a standby can neither take appends nor show the gate.", True),
    "42501": ("Grant the role the rights that `headwater schema postgresql --print` needs.", False),
    "28000": ("Check the user, the password and pg_hba.conf.", False),
    "28P01": ("Check the user and the password.", False),
    "3D000": ("Make the database first (createdb), or name another one.", False),
    "57014": ("Raise statement_timeout for this role.", True),
    "42P01": ("Was the schema dropped while the store was open? Open the store again.", False),
    "42883": ("Was the schema dropped while the store was open? Open the store again.", False),
    "HW004": ("Let the transaction that holds them end, and append again: nothing was written.", True),
    "HW002": ("Use a READ COMMITTED transaction (PostgreSQL's default) for conditions.", False),
}


def translated(error: Exception, target: Target) -> HeadwaterError:
    """Our error for the driver's."""
    if isinstance(error, HeadwaterError):
        return error
    if isinstance(error, PoolClosed):
        return StoreUnavailable(f"{target.shown}: the store is closed", "Open it again.", transient=False)
    if isinstance(error, (PoolTimeout, TooManyRequests)):
        return StoreUnavailable(
            f"{target.shown} gave no connection in time",
            f"Is the server up? Else all {target.pool} connections are busy: give the URL a larger pool=.",
        )
    if isinstance(error, (errors.DataCorrupted, errors.IndexCorrupted)):
        return CorruptStore(target.shown, f"the server finds damage ({_said(error)})", "Restore it from a backup.")
    state = getattr(error, "sqlstate", None) or ""
    remedy, transient = _REMEDIES.get(state, ("See the server's log.", True))
    if not state and isinstance(error, psycopg.OperationalError):
        remedy = "Is the server up, and does the URL name it rightly?"
    return StoreUnavailable(f"{target.shown}: {_said(error)}", remedy, transient=transient)


def _said(error: Exception) -> str:
    """The server's own words on one line, or the driver's."""
    diagnosis = getattr(error, "diag", None)
    text = (diagnosis.message_primary if diagnosis else None) or str(error) or type(error).__name__
    state = getattr(error, "sqlstate", None)
    line = " ".join(text.split())
    return f"{line} ({state})" if state else line
