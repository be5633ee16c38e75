"""The writer: it decides on the index, appends to KurrentDB on condition that the index was right, and waits until the
index has it. What it has written to the index itself is always rolled back: the follower writes it, with the positions
that KurrentDB gave.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from kurrentdbclient import KurrentDBClient
from kurrentdbclient.events import StreamStateCheck

from headwater.backend import Appended
from headwater.backends.kurrentdb.client import Stale, Unsure, append
from headwater.backends.kurrentdb.follower import Follower
from headwater.backends.kurrentdb.index import SEQUENCE
from headwater.backends.kurrentdb.records import COMMITS, beside_record, commit_record, event_record, state_of
from headwater.backends.kurrentdb.url import Place
from headwater.backends.sqlite.connections import StoreFile
from headwater.backends.sqlite.mirror import Changes, capture, changes, fact
from headwater.backends.sqlite.transaction import Transaction
from headwater.backends.sqlite.writer import Outcome, Work, Writer
from headwater.errors import HeadwaterError, OutcomeUnknown, StoreUnavailable, StreamDeleted, TooLarge

__all__ = ["KurrentDBWriter"]

SNAPSHOT_BYTES_MAX = 3_000_000
"""A larger snapshot is not kept at all: losing it costs time, never facts."""
ATTEMPTS = 200
"""How often something is decided again because others have written meanwhile."""
SETTLING_SECONDS = 30.0


class _Taken(Exception):
    """KurrentDB has taken the changes of the transaction under way."""

    def __init__(self, position: int) -> None:
        self.position = position
        super().__init__(position)


class KurrentDBWriter(Writer):
    """Does units of work in a transaction of the index that is rolled back; what they change goes to KurrentDB."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        file: StoreFile,
        committed: Callable[[], None],
        place: Place,
        client: KurrentDBClient,
        follower: Follower,
    ) -> None:
        self._place = place
        self._client = client
        self._follower = follower
        self._proven = 0  # the index was at the end of the log when it was here
        self._outcomes: list[Outcome] = []
        self._changes = Changes([], [])
        self._base = 0
        self._token = ""
        capture(connection)
        super().__init__(connection, file, committed)

    def _transact(self, group: Sequence[Work], *, look_ids_up: bool) -> list[Outcome]:
        self._follower.check()
        self._proven = 0
        for _ in range(ATTEMPTS):
            try:
                with self._follower.turn:
                    return super()._transact(group, look_ids_up=look_ids_up)
            except _Taken as taken:
                self._follower.to(taken.position)
                return self._placed()
            except Stale as stale:
                if self._is_stuck(stale):
                    return [self._alone(work) for work in group] if len(group) > 1 else [(None, self._stuck(stale))]
            except Unsure as unsure:
                position = self._settled(unsure)
                if position is not None:
                    self._follower.to(position)
                    return self._placed()
            except (TooLarge, StreamDeleted):
                if len(group) == 1:
                    raise
                return [self._alone(work) for work in group]
        raise StoreUnavailable(
            f"others write to {self._place.shown} all the time: after {ATTEMPTS} attempts, each was in another's way",
            "Try again; let one process append, where many do.",
        )

    def _alone(self, work: Work) -> Outcome:
        try:
            return self._transact([work], look_ids_up=True)[0]
        except HeadwaterError as refused:
            return None, refused

    def _is_stuck(self, stale: Stale) -> bool:
        """Catch up; whether nothing new was there, though a stream is not as the index has it."""
        before = self._follower.seen
        self._proven = self._follower.to_end()
        return bool(stale.streams) and COMMITS not in stale.streams and self._follower.seen == before

    def _stuck(self, stale: Stale) -> StoreUnavailable:
        return StoreUnavailable(
            f"stream {stale.streams[0]!r} is not in {self._place.shown} as the index has it, and nothing new came",
            "Was it deleted or scavenged there? Remove the index, so that it is made again; or use another stream.",
            transient=False,
        )

    def _before_commit(self, transaction: Transaction, position: int, outcomes: list[Outcome]) -> None:
        found = changes(transaction.connection, position, SNAPSHOT_BYTES_MAX)
        if not found.events and not found.beside:
            if not self._proven and any(refusal for _, refusal in outcomes):
                raise Stale  # the index may be behind: another process may have written what is missed here
            return
        self._outcomes, self._changes, self._base = outcomes, found, position
        self._token = uuid.uuid4().hex
        records = [*map(beside_record, found.beside), *map(event_record, found.events), commit_record(self._token)]
        checks = [self._turn_check(transaction.connection), *_checks(found)]
        raise _Taken(append(self._client, self._place, records, checks))

    def _turn_check(self, connection: sqlite3.Connection) -> StreamStateCheck:
        """Nobody has committed since the index was written."""
        return StreamStateCheck(COMMITS, state_of(int(fact(connection, SEQUENCE))))

    def _placed(self) -> list[Outcome]:
        """The outcomes, with the positions that KurrentDB gave in place of those that were assumed."""
        assumed = {event.position: event.raw_id for event in self._changes.events}
        return [(self._with_places(value, assumed), refusal) for value, refusal in self._outcomes]

    def _with_places(self, value: Any, assumed: dict[int, bytes]) -> Any:
        if not isinstance(value, list) or not all(isinstance(each, Appended) for each in value):
            return value
        return [self._with_place(each, assumed) for each in value]

    def _with_place(self, appended: Appended, assumed: dict[int, bytes]) -> Appended:
        if appended.duplicate and appended.position <= self._base:
            return appended
        row = self._connection.execute(
            "select position from events where id = ?", (assumed[appended.position],)
        ).fetchone()
        return Appended(appended.version, row[0], appended.duplicate)

    def _settled(self, unsure: Unsure) -> int | None:
        """The position of a commit that no answer came to; None where it was not made, and never will be.

        A commit of nothing takes its turn: where that succeeds, the other one can't any more.
        """
        until = time.monotonic() + SETTLING_SECONDS
        while True:
            try:
                self._follower.to_end()
                position = self._follower.place_of(self._token)
                if position is not None:
                    return position
                check = self._turn_check(self._connection)
                self._follower.to(append(self._client, self._place, [commit_record(uuid.uuid4().hex)], [check]))
                return self._follower.place_of(self._token)
            except Stale:
                continue  # a turn was taken meanwhile: perhaps by what we ask for
            except (Unsure, StoreUnavailable) as away:
                if time.monotonic() > until:
                    ids = [uuid.UUID(bytes=event.raw_id) for event in self._changes.events]
                    raise OutcomeUnknown(ids, f"no answer came to a commit ({str(unsure)[:200]})") from away
                time.sleep(0.5)


def _checks(found: Changes) -> list[StreamStateCheck]:
    """Each stream is where the index has it, whoever else writes to it."""
    first: dict[str, int] = {}
    for event in found.events:
        if event.stream is not None:
            first.setdefault(event.stream, event.version - 1)
    return [StreamStateCheck(stream, state_of(version)) for stream, version in first.items()]
