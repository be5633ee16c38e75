"""Who may do what to a stream: the access lists (``$acl``) in its metadata, and the default ones in ``$settings``.

Only where users are given: a call that nobody had to sign is let through. What is looked up is kept for a second, so
that a list costs no read for each append; a change made here counts at once.
"""

from __future__ import annotations

import time
from typing import Any

import grpc

from headwater.server.accounts import User
from headwater.server.kurrentdb.refusals import Refused, case
from headwater.server.kurrentdb.system import is_metadata, last_event, object_of, subject_of
from headwater.store import EventStore

__all__ = ["DELETE", "READ", "WRITE", "Access", "refuse_unless_operator"]

READ, WRITE, DELETE = "$r", "$w", "$d"
_OF_METADATA = {READ: "$mr", WRITE: "$mw", DELETE: "$mw"}
_NAMES = {READ: "read", WRITE: "write", DELETE: "delete", "$mr": "read the metadata of", "$mw": "write the metadata of"}

ADMINS, EVERYBODY = "$admins", "$all"
_OPERATORS = {ADMINS, "$ops"}
_SETTINGS = "$settings"
_DEFAULTS = {"$userStreamAcl": EVERYBODY, "$systemStreamAcl": ADMINS}

LOOK_SECONDS = 1.0
"""How old a list may be that another process has changed."""
KNOWN_MOST = 10_000


class Access:
    """The access lists of one store."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._known: dict[str, tuple[float, dict[str, Any]]] = {}
        self._changes = 0

    async def check(self, user: User | None, stream: str, right: str) -> None:
        """``Refused`` where this user may not do this to a stream, ``$all`` being one."""
        if not await self.allows(user, stream, right):
            raise _denied(user, stream, right)

    async def allows(self, user: User | None, stream: str, right: str) -> bool:
        """Whether the user may."""
        if user is None or ADMINS in user.groups:
            return True
        stream, right = _meant(stream, right)
        roles = _roles((await self._object(f"$${stream}")).get("$acl"), right)
        if roles is None:
            kind = "$systemStreamAcl" if stream.startswith("$") else "$userStreamAcl"
            roles = _roles((await self._object(_SETTINGS)).get(kind), right)
            if roles is None:
                roles = {_DEFAULTS[kind]}
        return not roles.isdisjoint({EVERYBODY, user.name, *user.groups})

    def changed(self, stream: str) -> None:
        """Something was written to a stream: what it said before counts no more."""
        if is_metadata(stream) or stream == _SETTINGS:
            self._known.pop(stream, None)
            self._changes += 1

    async def _object(self, stream: str) -> dict[str, Any]:
        """What the last event of a stream says."""
        now = time.monotonic()
        known = self._known.get(stream)
        if known is not None and now - known[0] < LOOK_SECONDS:
            return known[1]
        changes = self._changes
        said = object_of(await last_event(self._store, stream))
        if len(self._known) >= KNOWN_MOST:
            self._known.clear()
        if changes == self._changes:  # else it may have been read before something was written
            self._known[stream] = now, said
        return said


def refuse_unless_operator(user: User | None) -> None:
    """Groups of consumers are made, changed and deleted by ``$admins`` and ``$ops``."""
    if user is not None and user.groups.isdisjoint(_OPERATORS):
        text = f"{user.name} is neither in $admins nor in $ops, who manage persistent subscriptions"
        raise Refused(grpc.StatusCode.PERMISSION_DENIED, f"Access denied: {text}.", case("access-denied"))


def _meant(stream: str, right: str) -> tuple[str, str]:
    """A stream of metadata has no list of its own: rights to it stand in the list of the stream it is about."""
    return (subject_of(stream), _OF_METADATA[right]) if is_metadata(stream) else (stream, right)


def _roles(acl: Any, right: str) -> set[str] | None:
    """Whom a list names for a right; None where it says nothing. One that can't be understood names nobody."""
    if acl is None:
        return None
    given = acl.get(right) if isinstance(acl, dict) else ()
    if given is None:
        return None
    return {given} if isinstance(given, str) else {each for each in _items(given) if isinstance(each, str)}


def _items(given: Any) -> list[Any]:
    return given if isinstance(given, list) else []


def _denied(user: User | None, stream: str, right: str) -> Refused:
    name = user.name if user is not None else "nobody"
    stream, right = _meant(stream, right)
    text = f"Access denied: {name} may not {_NAMES[right]} the stream '{stream}' ({right} of its $acl)."
    return Refused(grpc.StatusCode.PERMISSION_DENIED, text, case("access-denied"))
