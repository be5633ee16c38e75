"""What a ``dynamodb:`` URL says. Credentials never stand in it: they come by AWS's own chain."""

from __future__ import annotations

from typing import Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec

from headwater.backends.dynamodb.templates import TABLE
from headwater.errors import BadUrl

__all__ = ["Ordering", "Target", "parse"]

Ordering = Literal["sync", "async"]

_PARAMETERS = ("region", "endpoint", "profile", "ordering", "shards", "pool", "create")


class Target(msgspec.Struct, frozen=True):
    """A store's place, and how it is used."""

    table: str
    region: str | None = None
    """None: the region of the environment or the profile."""
    endpoint: str | None = None
    """Instead of AWS's own, for an emulator or a private endpoint."""
    profile: str | None = None
    ordering: Ordering = "sync"
    shards: int = 4
    """Over so many partitions the outbox and the list of streams are spread, in a store that is still to be made."""
    pool: int = 50
    """The most connections that the store opens."""
    create: bool = True
    """Whether a missing table is made."""

    @property
    def shown(self) -> str:
        """For messages."""
        where = self.endpoint or self.region or "the default region"
        return f"DynamoDB table {self.table} at {where}"


def parse(url: str) -> Target:
    """Take ``dynamodb://table?region=…&endpoint=…`` apart. Raises ``BadUrl``.

    ``region``, ``endpoint`` and ``profile`` say where; ``ordering`` is ``sync`` (an append returns its position) or
    ``async``; ``shards`` counts only when the store is made; ``pool`` bounds the connections; ``create=no`` opens only
    what exists.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise BadUrl(
            url.replace(parts.netloc.rpartition("@")[0], "***"),
            "it holds credentials",
            "Leave them out: AWS's own chain finds them (environment, profile, role).",
        )
    if not TABLE.fullmatch(parts.netloc) or parts.path not in ("", "/"):
        raise BadUrl(
            url,
            f"{parts.netloc + parts.path!r} is no table's name",
            "Give dynamodb://table?region=…: 3 to 255 letters, digits, _, - and dots.",
        )
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = [name for name in given if name not in _PARAMETERS]
    if unknown:
        raise BadUrl(url, f"the parameter {unknown[0]!r} is unknown", f"There are: {', '.join(_PARAMETERS)}.")
    return Target(
        table=parts.netloc,
        region=given.get("region"),
        endpoint=given.get("endpoint"),
        profile=given.get("profile"),
        ordering=_ordering(given, url),
        shards=_number(given, "shards", url, 4, most=64),
        pool=_number(given, "pool", url, 50, most=1_000),
        create=_create(given, url),
    )


def _ordering(given: dict[str, str], url: str) -> Ordering:
    match given.get("ordering", "sync"):
        case "sync":
            return "sync"
        case "async":
            return "async"
        case other:
            raise BadUrl(url, f"ordering is {other!r}", "Say ordering=sync (the default) or ordering=async.")


def _create(given: dict[str, str], url: str) -> bool:
    text = given.get("create", "yes")
    if text not in ("yes", "no"):
        raise BadUrl(url, f"create is {text!r}", "Say create=no to open only what exists, or leave it out.")
    return text == "yes"


def _number(given: dict[str, str], name: str, url: str, default: int, most: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= most:
        raise BadUrl(url, f"{name} is {text!r}", f"Give a whole number from 1 to {most:,}.")
    return int(text)
