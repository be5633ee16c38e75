"""What a ``marten+postgresql:`` URL says."""

from __future__ import annotations

import hashlib
import math
import re
from typing import get_args
from urllib.parse import unquote_plus

import msgspec

from headwater.backends.marten.aliases import Aliases, Naming
from headwater.backends.marten.casing import CASINGS, Casing, JsonCasing
from headwater.backends.postgres import url as postgres
from headwater.errors import BadUrl

__all__ = ["DEFAULT_TENANT", "Target", "parse"]

DEFAULT_TENANT = "*DEFAULT*"
"""Marten's tenant of everything that has none."""

_OWN = ("schema", "own", "tenant", "append", "naming", "alias", "json", "dotnet", "gap")
_NOT_HERE = ("ordering", "partition")
_GAP_SECONDS_MAX = 3_600.0


class Target(msgspec.Struct, frozen=True):
    """A Marten application's place, and how to get along with it."""

    server: postgres.Target
    """The server, and the schema of our own."""
    marten: str
    """Marten's schema."""
    tenant: str
    appends: bool
    """Whether events of any type may be appended."""
    append_aliases: frozenset[str]
    """Of which aliases they may be, otherwise."""
    aliases: Aliases
    casing: Casing
    dotnet_types: dict[str, str]
    """By alias: the class in .NET, ``Namespace.Class, Assembly``."""
    gap_seconds: float
    """For how long a number must have been missing at least before readers may pass it."""

    def may_append(self, alias: str) -> bool:
        """Whether events of this alias may be appended."""
        return self.appends or alias in self.append_aliases


def parse(url: str) -> Target:
    """Take the URL apart. Raises ``BadUrl``.

    ``schema`` (Marten's, default ``public``), ``own`` (our schema beside it), ``tenant``, ``append`` (``no``, ``yes``,
    or the types that may be appended), ``naming`` and ``alias``, ``json`` (casing), ``dotnet`` and ``gap`` are of this
    backend; ``pool`` and ``create`` as for ``postgresql:``; every other parameter goes to libpq.
    """
    address, _, query = url.partition("?")
    given = [part.partition("=") for part in query.split("&") if part]
    said = {name: unquote_plus(value) for name, _, value in given if name in _OWN}
    address = "postgresql" + address[address.index(":") :]
    shown = address.rpartition("@")[2]
    for name, _, _ in given:
        if name in _NOT_HERE:
            raise BadUrl(shown, f"{name} is for stores of our own layout", "Leave it out: the tables are Marten's.")
    marten = postgres.checked_schema(said.get("schema", "public"), shown)
    tenant = said.get("tenant", DEFAULT_TENANT)
    own = postgres.checked_schema(said.get("own", _own_schema(marten, tenant)), shown)
    rest = [f"{name}{equals}{value}" for name, equals, value in given if name not in _OWN]
    server = postgres.parse(f"{address}?{'&'.join([*rest, f'schema={own}'])}")
    aliases = Aliases(_naming(said, shown), _pairs(said, "alias", ",", shown))
    appends, append_aliases = _appends(said, aliases)
    place = server.shown.replace("PostgreSQL", "Marten", 1)
    tenants = "" if tenant == DEFAULT_TENANT else f", tenant {tenant!r}"
    return Target(
        server=msgspec.structs.replace(server, shown=f"{place.removesuffix(own)}{marten}{tenants}"),
        marten=marten,
        tenant=tenant,
        appends=appends,
        append_aliases=append_aliases,
        aliases=aliases,
        casing=Casing(_casing(said, shown)),
        dotnet_types={aliases.alias(kind): name for kind, name in _pairs(said, "dotnet", ";", shown).items()},
        gap_seconds=_gap(said, shown),
    )


def _own_schema(marten: str, tenant: str) -> str:
    """Beside each schema of Marten's one of ours; for each tenant too, as its streams and consumers are its own."""
    name = f"headwater_{marten}"
    if tenant != DEFAULT_TENANT:
        name += f"_{hashlib.sha256(tenant.encode()).hexdigest()[:8]}"
    return name if len(name) <= 63 else f"headwater_{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _naming(said: dict[str, str], shown: str) -> Naming:
    match said.get("naming", "class"):
        case "class":
            return "class"
        case "alias":
            return "alias"
        case other:
            raise BadUrl(shown, f"naming is {other!r}", f"Say naming={' or naming='.join(get_args(Naming))}.")


def _casing(said: dict[str, str], shown: str) -> JsonCasing:
    given = said.get("json", "pascal")
    for casing in CASINGS:
        if casing == given:
            return casing
    raise BadUrl(shown, f"json is {given!r}", f"Say how .NET writes names: json={', json='.join(CASINGS)}.")


def _pairs(said: dict[str, str], name: str, separator: str, shown: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in filter(None, said.get(name, "").split(separator)):
        left, colon, right = (each.strip() for each in part.partition(":"))
        if not (left and colon and right):
            raise BadUrl(
                shown,
                f"{name} holds {part!r}",
                f"Give pairs: {name}=LoanRequested:loan_requested{separator}LoanPaid:paid."
                if name == "alias"
                else f"Give pairs: {name}=LoanRequested:Bank.LoanRequested, Bank{separator} …",
            )
        pairs[left] = right
    if name == "alias" and len(set(pairs.values())) < len(pairs):
        raise BadUrl(shown, "alias gives two types the same alias", "An alias stands for one type.")
    return pairs


def _appends(said: dict[str, str], aliases: Aliases) -> tuple[bool, frozenset[str]]:
    match said.get("append", "no"):
        case "yes":
            return True, frozenset()
        case "no":
            return False, frozenset()
        case types:
            return False, frozenset(aliases.alias(kind) for kind in re.split(r"\s*,\s*", types.strip()) if kind)


def _gap(said: dict[str, str], shown: str) -> float:
    text = said.get("gap", "3")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= _GAP_SECONDS_MAX:
        raise BadUrl(shown, f"gap is {text!r}", f"Give seconds, from 0 to {_GAP_SECONDS_MAX:g}; Marten's own is 3.")
    return seconds
