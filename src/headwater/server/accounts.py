"""Who may use a server: names and passwords in a file, one ``name:password`` a line."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import stat
import time
from pathlib import Path

from headwater.errors import BadUrl

__all__ = ["Accounts"]

LOOK_SECONDS = 1.0
"""How often the file is looked at: a changed one counts at once for new calls."""


class Accounts:
    """The users of a server. Only digests of their passwords are kept in memory."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._digests: dict[str, bytes] = {}
        self._changed_ns = 0
        self._looked = 0.0
        self._load()

    def user_of(self, header: str | None) -> str | None:
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
        known = self._digests.get(name)
        given = _digest(name, password)  # made for unknown names too, so that both take as long
        return name if hmac.compare_digest(known or b"", given) and colon else None

    def _load(self) -> None:
        self._looked = time.monotonic()
        try:
            about = self._file.stat()
            if about.st_mtime_ns == self._changed_ns:
                return
            lines = self._file.read_text().splitlines()
        except OSError as error:
            if self._digests:
                return  # it is being replaced: who was known stays known
            raise BadUrl(str(self._file), f"the file of users can't be read: {error.strerror}", "Give one.") from None
        if about.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise BadUrl(str(self._file), "others can read the file of users", f"Run chmod 600 {self._file}.")
        self._digests = {}
        for line in lines:
            name, colon, password = line.strip().partition(":")
            if line.strip() and not line.startswith("#"):
                if not (colon and name and password):
                    raise BadUrl(str(self._file), "a line of it is not name:password", "Write one user a line.")
                self._digests[name] = _digest(name, password)
        if not self._digests:
            raise BadUrl(str(self._file), "no user stands in it", "Write lines of name:password.")
        self._changed_ns = about.st_mtime_ns


def _digest(name: str, password: str) -> bytes:
    return hashlib.sha256(f"{name}\n{password}".encode()).digest()
