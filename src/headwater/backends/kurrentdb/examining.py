"""What ``headwater doctor`` says of a store in KurrentDB."""

from __future__ import annotations

from kurrentdbclient import KurrentDBClient
from kurrentdbclient.exceptions import KurrentDBClientError

from headwater.backend import Examined
from headwater.backends.kurrentdb.follower import Follower
from headwater.backends.kurrentdb.url import Place
from headwater.errors import HeadwaterError

__all__ = ["examine"]

BEHIND_MOST = 10_000


def examine(place: Place, client: KurrentDBClient, follower: Follower) -> list[Examined]:
    """Whether the server answers, how many nodes there are, and whether the index keeps up."""
    return [*_nodes(place, client), _index(follower)]


def _nodes(place: Place, client: KurrentDBClient) -> list[Examined]:
    try:
        members = client.read_gossip(timeout=5)
    except KurrentDBClientError as error:
        return [Examined("server", "wrong", f"{place.shown} does not answer: {str(error)[:200]}", "Is it up?")]
    states = [each.state.removeprefix("NODE_STATE_").lower() for each in members]
    shown = ", ".join(f"{each.address}:{each.port} {state}" for each, state in zip(members, states, strict=True))
    if len(members) < 3:
        return [Examined("server", "note", f"{shown}: no other node has a copy", "A cluster of three survives one.")]
    return [Examined("server", "well", shown)]


def _index(follower: Follower) -> Examined:
    if follower.failure is not None:
        return Examined("index", "wrong", f"it is not kept up: {follower.failure}", "Remove it: it is made again.")
    before = follower.seen
    try:
        end = follower.to_end()
    except HeadwaterError as error:
        return Examined("index", "wrong", f"it does not come to the end of the log: {error}", "Is the server well?")
    if end - before > BEHIND_MOST:
        return Examined("index", "note", f"it was {end - before:,} positions behind just now")
    return Examined("index", "well", f"it has everything up to position {end:,}")
