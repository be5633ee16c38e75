"""What can be wrong with the server below a store, and who holds its readers back."""

from __future__ import annotations

import asyncio
import time

import psycopg
from psycopg.sql import SQL, Identifier

from headwater.backend import Examined
from headwater.backends.postgres.connections import Connections
from headwater.backends.postgres.statements import Statements
from headwater.backends.postgres.url import Target
from headwater.backends.postgres.wakeup import LOOK_MOST_DEAF

__all__ = ["Examination"]

CLOCK_SECONDS = 1.0
"""A difference between two clocks that is worth knowing: times of events come from the server's."""
HELD_SECONDS = 5.0
"""An append that takes longer holds readers of the whole log up."""
FROZEN_AGE = 1_500_000_000
"""Transactions after which a database that is not vacuumed is near its end, at two thousand million."""
NOTIFY_SECONDS = 2.0
OLDEST = 14


class Examination:
    """Looks at the server once."""

    def __init__(self, connections: Connections, statements: Statements, target: Target, channel: str) -> None:
        self._connections = connections
        self._statements = statements
        self._target = target
        self._channel = channel

    async def all(self) -> list[Examined]:
        """Everything, in a fixed order."""
        return [*await self.server(), *await self._guards(), *await self._horizon(), await self.notifications()]

    async def server(self) -> list[Examined]:
        """The server: version, durability, role, room for connections, clock, vacuum."""
        before = time.time()
        ((version, fsync, pages, commit, standbys, recovering, most, used, clock, age),) = await self._connections.rows(
            self._statements["server"]
        )
        return [
            _version(str(version)),
            _durability({"fsync": fsync, "full_page_writes": pages}, commit, standbys),
            _role(recovering),
            _connections(used, most, self._target.pool),
            _clock(clock - (before + time.time()) / 2),
            _vacuum(age),
        ]

    async def _guards(self) -> list[Examined]:
        guards = await self._connections.rows(self._statements["guards"])
        off = [table for table, on in guards if not on]
        if len(guards) == 2 and not off:
            return [Examined("append-only", "well", "the database refuses changes to what is stored")]
        what = f"off on {', '.join(off)}" if off else "not there"
        return [
            Examined(
                "append-only",
                "wrong",
                f"the triggers that refuse changes to what is stored are {what}",
                "Enable them (ALTER TABLE … ENABLE TRIGGER append_only), and run headwater verify.",
            )
        ]

    async def _horizon(self) -> list[Examined]:
        """Who holds back what readers of the whole log may see."""
        holders = await self._connections.rows(self._statements["horizon_holders"])
        slow = [each for each in holders if (each[3] or 0.0) > HELD_SECONDS]
        if not slow:
            return [Examined("horizon", "well", f"{len(holders)} appends under way, none for long")]
        return [
            Examined(
                "horizon",
                "wrong",
                f"process {pid} ({name or 'no name'}, {state}) has had an append under way for {seconds:.0f} s, and "
                f"readers of the whole log wait for it: {' '.join(query.split())}",
                f"Let it commit; or end it: select pg_terminate_backend({pid}).",
            )
            for pid, name, state, seconds, query in slow
        ]

    async def notifications(self) -> Examined:
        """Whether a NOTIFY arrives by this URL. A pooler between may swallow it."""
        heard = await self._hears()
        if heard:
            return Examined("notifications", "well", "they arrive")
        return Examined(
            "notifications",
            "note",
            f"they do not arrive (a pooler in transaction mode swallows them): readers look every {LOOK_MOST_DEAF:g} s",
            "Name the server itself in the URL of programs that follow the log.",
        )

    async def _hears(self) -> bool:
        try:
            async with await psycopg.AsyncConnection.connect(self._target.conninfo, autocommit=True) as connection:
                await connection.execute(SQL("LISTEN {}").format(Identifier(self._channel)))
                await self._connections.rows(self._statements["tell"], (self._channel, "doctor"))
                async with asyncio.timeout(NOTIFY_SECONDS):
                    async for _ in connection.notifies():
                        return True
        except (TimeoutError, psycopg.Error):
            pass
        return False


def _version(version: str) -> Examined:
    if int(version.split(".")[0]) >= OLDEST:
        return Examined("server", "well", f"PostgreSQL {version}")
    return Examined("server", "wrong", f"PostgreSQL {version}", f"Upgrade it: {OLDEST} is the oldest that is tested.")


def _durability(settings: dict[str, str], commit: str, standbys: str) -> Examined:
    off = [name for name, value in settings.items() if value != "on"]
    if off:
        return Examined(
            "durability",
            "wrong",
            f"{' and '.join(off)} off: a power cut can lose or tear what was acknowledged",
            "Turn them on in postgresql.conf.",
        )
    if commit == "off":
        return Examined(
            "durability",
            "wrong",
            "synchronous_commit is off for this role or database: a crash loses the last acknowledged events",
            "Set it to on (ALTER ROLE … RESET synchronous_commit).",
        )
    waits = f"commits wait for {standbys}" if standbys and commit != "local" else "commits wait for no standby"
    return Examined("durability", "well", f"fsync and full_page_writes on, synchronous_commit {commit}; {waits}")


def _connections(used: int, most: int, pool: int) -> Examined:
    if most - used >= pool:
        return Examined("connections", "well", f"{used} of {most} in use; a store of this URL takes up to {pool}")
    return Examined(
        "connections",
        "note",
        f"{used} of {most} in use, and a store of this URL takes up to {pool}",
        "Raise max_connections, or lower pool in the URL.",
    )


def _role(recovering: bool) -> Examined:
    if recovering:
        return Examined("role", "wrong", "the server is a standby: it takes no writes", "Name the primary in the URL.")
    return Examined("role", "well", "the server takes writes")


def _clock(skew: float) -> Examined:
    finding = f"the server's is {skew:+.2f} s from this machine's"
    if abs(skew) <= CLOCK_SECONDS:
        return Examined("clock", "well", finding)
    return Examined("clock", "note", finding, "Let both follow one time service: times of events are the server's.")


def _vacuum(age: int) -> Examined:
    if age < FROZEN_AGE:
        return Examined("vacuum", "well", f"{age:,} transactions since the oldest that is not frozen")
    return Examined("vacuum", "wrong", f"{age:,} transactions are not frozen", "Run VACUUM FREEZE in the database.")
