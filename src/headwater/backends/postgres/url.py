"""What a ``postgresql:`` URL says: our own parameters, and what is left for the driver."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import unquote_plus

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from headwater.errors import BadUrl

__all__ = ["Target", "checked_schema", "parse"]

Ordering = Literal["gate", "serialized"]

_OWN = ("schema", "ordering", "partition", "pool", "create")
_SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


class Target(msgspec.Struct, frozen=True):
    """A store's place. ``repr`` shows no password."""

    conninfo: str
    """For the driver; may hold a password."""
    shown: str
    """For messages: host, port, database and schema."""
    schema: str
    ordering: Ordering
    partition: int | None
    """Positions per partition, for a store that is still to be made. None: one whole table."""
    pool: int
    """The most connections that the store opens."""
    create: bool = True
    """Whether a missing store is made."""

    def __repr__(self) -> str:
        return f"Target({self.shown!r})"


def parse(url: str) -> Target:
    """Take the URL apart. Raises ``BadUrl``.

    ``schema`` (default ``headwater``), ``ordering`` (``gate``, or ``serialized`` to let one append at a time through),
    ``partition`` (positions per partition, only when the store is made), ``pool`` (most connections, default 10) and
    ``create`` (``no``: a store that is missing is not made) are ours; every other parameter goes to libpq.
    """
    shown = _without_password(url)
    address, _, query = url.partition("?")
    given = [part.partition("=") for part in query.split("&") if part]
    own = {name: unquote_plus(value) for name, _, value in given if name in _OWN}
    rest = "&".join(f"{name}{equals}{value}" for name, equals, value in given if name not in _OWN)
    conninfo, facts = _for_driver(f"{address}?{rest}" if rest else address, shown)
    schema = checked_schema(own.get("schema", "headwater"), shown)
    return Target(
        conninfo=conninfo,
        shown=f"PostgreSQL at {facts} schema {schema}",
        schema=schema,
        ordering=_ordering(own, shown),
        partition=_number(own, "partition", shown, least=1_000) if "partition" in own else None,
        pool=_number(own, "pool", shown, least=2) if "pool" in own else 10,
        create=_create(own, shown),
    )


def _ordering(own: dict[str, str], shown: str) -> Ordering:
    match own.get("ordering", "gate"):
        case "gate":
            return "gate"
        case "serialized":
            return "serialized"
        case other:
            raise BadUrl(shown, f"ordering is {other!r}", "Say ordering=gate (the default) or ordering=serialized.")


def _create(own: dict[str, str], shown: str) -> bool:
    given = own.get("create", "yes")
    if given not in ("yes", "no"):
        raise BadUrl(shown, f"create is {given!r}", "Say create=no to open only what exists, or leave it out.")
    return given == "yes"


def _for_driver(url: str, shown: str) -> tuple[str, str]:
    try:
        facts = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        secret = _password(url)
        problem = str(error).strip().replace(secret, "***") if secret else str(error).strip()
        raise BadUrl(
            shown, problem, "Give postgresql://user@host:port/database?schema=name; other parameters are libpq's."
        ) from None
    host = facts.get("host") or facts.get("hostaddr") or "the default host"
    conninfo = make_conninfo(
        "",
        **{
            "connect_timeout": "10",
            "application_name": "headwater",
            "target_session_attrs": "read-write",  # on a standby, the gate's locks can't be seen
            **facts,
            "client_encoding": "UTF8",
        },
    )
    return conninfo, f"{host}:{facts.get('port') or '5432'}, database {facts.get('dbname') or 'of the user'},"


def checked_schema(name: str, shown: str) -> str:
    """``name``, if it can be a schema's name that needs no care anywhere. Raises ``BadUrl``."""
    if not _SCHEMA.fullmatch(name) or name.lower().startswith("pg_"):
        raise BadUrl(
            shown,
            f"the schema name {name!r} can't be used",
            "Use letters, digits and _, at most 63, not starting with a digit or pg_.",
        )
    return name


def _number(own: dict[str, str], name: str, shown: str, least: int) -> int:
    text = own[name]
    if not (text.isascii() and text.isdigit()) or not least <= int(text) < 2**62:
        raise BadUrl(shown, f"{name} is {text!r}", f"Give a whole number from {least:,} up.")
    return int(text)


def _password(url: str) -> str | None:
    in_address = re.search(r"//[^/:@]*:([^/]*)@", url)
    in_query = re.search(r"[?&]password=([^&]*)", url)
    return next((found[1] for found in (in_address, in_query) if found and found[1]), None)


def _without_password(url: str) -> str:
    secret = _password(url)
    return url.replace(secret, "***") if secret else url
