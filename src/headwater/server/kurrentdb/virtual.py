"""The streams that KurrentDB's system projections write, as views: links to events that an index of the store finds.

Nothing is written for them. A link's revision is the position of its event: it rises, it can be saved and resumed from,
and it has holes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from headwater.events import Event
from headwater.queries import Query, QueryItem
from headwater.server.kurrentdb.recorded import CORRELATION
from headwater.server.kurrentdb.refusals import invalid

__all__ = ["INDEX", "Virtual", "index_query", "virtual_of"]

INDEX = "$idx-"
"""Before the names of the secondary indexes, which are read as a filter on ``$all``."""


class Virtual(NamedTuple):
    """Which events a made-up stream links to."""

    name: str
    query: Query | None
    wants: Callable[[Event], bool]


def _of_users(event: Event) -> bool:
    """Of a stream that is not the system's own."""
    return event.stream is not None and not event.stream.startswith("$")


def _first(event: Event) -> bool:
    return event.version == 1 and _of_users(event)


def virtual_of(name: str) -> Virtual | None:
    """The made-up stream of this name; None where it is an ordinary one."""
    if name == "$streams":
        return Virtual(name, None, _first)
    prefix, dash, rest = name.partition("-")
    if not (dash and rest):
        return None
    if prefix == "$ce":
        return Virtual(name, Query([QueryItem(categories=[rest])]), _of_users)
    if prefix == "$category":
        return Virtual(name, Query([QueryItem(categories=[rest])]), _first)
    if prefix == "$et":
        return Virtual(name, Query([QueryItem(types=[rest])]), _of_users)
    if prefix == "$bc":
        return Virtual(name, Query([QueryItem(tags=[CORRELATION + rest])]), _of_users)
    return None


def index_query(name: str) -> Query | None:
    """What a secondary index holds: ``$idx-all``, ``$idx-ce-category``, ``$idx-et-type``."""
    kind, _, rest = name.removeprefix(INDEX).partition("-")
    if kind == "all" and not rest:
        return None
    if kind == "ce" and rest:
        return Query([QueryItem(categories=[rest])])
    if kind == "et" and rest:
        return Query([QueryItem(types=[rest])])
    raise invalid(f"there is no index {name!r}: there are $idx-all, $idx-ce-<category> and $idx-et-<type>")
