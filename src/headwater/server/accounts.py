"""Who may use a server: a file with a line for each user, ``name:password`` or ``name:password:groups``.

Where a line has more than two fields, the last one is groups. So a password may hold colons if groups follow it, which
may be none: ``name:pass:word:``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import stat
import time
from pathlib import Path
from typing import NamedTuple

from headwater.errors import BadUrl

__all__ = ["Accounts", "User"]

LOOK_SECONDS = 1.0
"""How often the file is looked at: a changed one counts at once for new calls."""


class User(NamedTuple):
    """Somebody who has given his password."""

    name: str
    groups: frozenset[str]


class Accounts:
    """The users of a server. Only digests of their passwords are kept in memory."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._users: dict[str, tuple[bytes, User]] = {}
        self._changed_ns = 0
        self._looked = 0.0
        self._load()

    def user_of(self, header: str | None) -> User | None:
        """The user whom a header of basic authentication (RFC 7617) names; None where the password is not his."""
        scheme, _, credentials = (header or "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            name, colon, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._load()
        known, user = self._users.get(name, (b"", None))
        given = _digest(name, password)  # made for unknown names too, so that both take as long
        return user if hmac.compare_digest(known, given) and colon else None

    def _load(self) -> None:
        self._looked = time.monotonic()
        try:
            about = self._file.stat()
            if about.st_mtime_ns == self._changed_ns:
                return
            lines = self._file.read_text().splitlines()
        except OSError as error:
            if self._users:
                return  # it is being replaced: who was known stays known
            raise BadUrl(str(self._file), f"the file of users can't be read: {error.strerror}", "Give one.") from None
        if about.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise BadUrl(str(self._file), "others can read the file of users", f"Run chmod 600 {self._file}.")
        users: dict[str, tuple[bytes, User]] = {}
        for line in lines:
            if line.strip() and not line.startswith("#"):
                user, password = self._user(line.strip())
                users[user.name] = _digest(user.name, password), user
        self._users = users
        if not users:
            raise BadUrl(str(self._file), "no user stands in it", "Write lines of name:password.")
        self._changed_ns = about.st_mtime_ns

    def _user(self, line: str) -> tuple[User, str]:
        name, _, rest = line.partition(":")
        password, colon, groups = rest.rpartition(":")
        if not colon:
            password, groups = rest, ""
        if not (name and password):
            raise BadUrl(
                str(self._file), "a line of it is not name:password or name:password:groups", "Write one user a line."
            )
        if name.startswith("$"):  # in an access list it would stand for the group
            raise BadUrl(str(self._file), f"the user {name!r} has the name of a group", "Begin it with something else.")
        return User(name, frozenset(each.strip() for each in groups.split(",") if each.strip())), password


def _digest(name: str, password: str) -> bytes:
    return hashlib.sha256(f"{name}\n{password}".encode()).digest()
