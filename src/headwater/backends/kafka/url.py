"""What a ``kafka:`` URL says: brokers, the store's name, our own parameters, and options of the client."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from headwater.errors import BadUrl

__all__ = ["Place", "parse"]

EXAMPLE = (
    "Write kafka://localhost:9092/loans?index=/var/lib/loans.db, with address=, takeover=yes, create=no, replication= "
    "or options of librdkafka (security.protocol=SSL)."
)
_OWN = ("index", "address", "create", "replication", "partitions", "takeover")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,180}")
_SECRET = re.compile(r"(?i)((?:password|secret|token|key)[a-z.]*=)[^&]*")

# What the promises stand on: not for a URL to change.
_FIXED = ("acks", "bootstrap.servers", "enable.idempotence", "group.id", "isolation.level", "transactional.id")


class Place(msgspec.Struct, frozen=True):
    """A store's place. ``repr`` shows no password."""

    servers: str
    name: str
    index: Path | None
    """The file of the index; None for a temporary one."""
    address: str
    """Where this process can be reached when it is the owner: what others are told."""
    create: bool
    """Whether a missing store is made."""
    takeover: bool
    """Whether it takes the store over from an owner that is alive."""
    replication: int
    """Copies of topics that are made; -1 for the brokers' default."""
    options: dict[str, str]
    """Options of librdkafka, by their names there; may hold a password."""

    @property
    def events(self) -> str:
        """The topic of the events."""
        return f"{self.name}.events"

    @property
    def beside(self) -> str:
        """The compacted topic of what is kept beside the log, and of who owns it."""
        return f"{self.name}.beside"

    @property
    def shown(self) -> str:
        """For messages."""
        return f"Kafka at {self.servers}, store {self.name}"

    def __repr__(self) -> str:
        return f"Place({self.shown!r})"

    def settings(self, **more: Any) -> dict[str, Any]:
        """For a client of librdkafka; underscores stand for dots."""
        ours = {name.replace("_", "."): value for name, value in more.items()}
        return {"bootstrap.servers": self.servers, "client.id": "headwater", **self.options, **ours}


def parse(url: str) -> Place:
    """Take the URL apart. Raises ``BadUrl``.

    Ours are ``index`` (the file of the index; temporary where left out), ``address`` (of this process, for others),
    ``takeover`` (``yes``: at once, from an owner that is alive), ``create`` (``no``: a missing store is not made) and
    ``replication``; parameters with a dot are librdkafka's.
    """
    parts = urlsplit(url)
    shown = _SECRET.sub(r"\1***", url)
    name = unquote(parts.path[1:])
    if not parts.netloc or "@" in parts.netloc:
        raise BadUrl(_SECRET.sub(r"\1***", url.rpartition("@")[2]), "it names no brokers, or more than those", EXAMPLE)
    if not _NAME.fullmatch(name):
        raise BadUrl(shown, f"{name!r} can't be the beginning of a topic's name", EXAMPLE)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    own = {key: given.pop(key) for key in _OWN if key in given}
    for key in given:
        if "." not in key or key in _FIXED:
            raise BadUrl(shown, f"{key!r} can't be set in a store's URL", EXAMPLE)
    if own.get("create", "yes") not in ("yes", "no"):
        raise BadUrl(shown, f"create is {own['create']!r}", "Say create=no to open only what exists, or leave it out.")
    if own.get("partitions", "1") != "1":
        raise BadUrl(
            shown,
            f"partitions is {own['partitions']!r}, and a store has one",
            "Only one partition has an order over all events. Spread streams over several stores instead.",
        )
    if own.get("takeover", "no") not in ("yes", "no"):
        raise BadUrl(
            shown, f"takeover is {own['takeover']!r}", "Say takeover=yes to replace an owner at once, or leave it out."
        )
    replication = own.get("replication", "-1")
    if replication != "-1" and not re.fullmatch(r"[1-9][0-9]?", replication):
        raise BadUrl(shown, f"replication is {replication!r}", "Write a number from 1 up, or leave it out.")
    return Place(
        servers=parts.netloc,
        name=name,
        index=Path(own["index"]).absolute() if own.get("index") else None,
        address=own.get("address") or f"{socket.gethostname()}, process {os.getpid()}",
        create=own.get("create", "yes") == "yes",
        takeover=own.get("takeover", "no") == "yes",
        replication=int(replication),
        options=given,
    )
