"""What a ``kurrentdb:`` URL says: the client's own connection string, and our parameters beside it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from headwater.errors import BadUrl

__all__ = ["Place", "parse"]

EXAMPLE = "Write kurrentdb://localhost:2113?tls=false, and if you like &index=/var/lib/loans.db, create=no."
_OWN = ("index", "create")


class Place(msgspec.Struct, frozen=True):
    """A store's place. ``repr`` shows no password."""

    connection: str
    """As the client takes it; may hold a password."""
    servers: str
    index: Path | None
    """The file of the index; None for a temporary one."""
    create: bool
    """Whether a missing store is made."""

    @property
    def shown(self) -> str:
        """For messages."""
        return f"KurrentDB at {self.servers}"

    def __repr__(self) -> str:
        return f"Place({self.shown!r})"


def parse(url: str) -> Place:
    """Take the URL apart. Raises ``BadUrl``.

    Ours are ``index`` (the file of the index; temporary where left out) and ``create`` (``no``: a missing store is not
    made). All else is the client's: ``tls``, ``tlsCaFile``, ``nodePreference`` and so on.
    """
    parts = urlsplit(url)
    servers = parts.netloc.rpartition("@")[2]
    if not servers or parts.path not in ("", "/"):
        raise BadUrl(re.sub(r"//.*@", "//***@", url), "it names no server, or more than that", EXAMPLE)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    own = {name: given.pop(name) for name in _OWN if name in given}
    if own.get("create", "yes") not in ("yes", "no"):
        raise BadUrl(url, f"create is {own['create']!r}", "Say create=no to open only what exists, or leave it out.")
    return Place(
        connection=urlunsplit((parts.scheme, parts.netloc, "", urlencode(given, safe="/:"), "")),
        servers=servers,
        index=Path(own["index"]).absolute() if own.get("index") else None,
        create=own.get("create", "yes") == "yes",
    )
