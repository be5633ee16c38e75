"""The index's writer, where Kafka has the last word: what a transaction changes is committed there first."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress

from headwater.backends.kafka.follower import Follower
from headwater.backends.kafka.index import OFFSET, SEQUENCE, SNAPSHOT_BYTES_MAX
from headwater.backends.kafka.messages import Mark
from headwater.backends.kafka.owner import Beating, Ownership, Unsure
from headwater.backends.sqlite.connections import StoreFile
from headwater.backends.sqlite.mirror import Changes, capture, changes, keep
from headwater.backends.sqlite.transaction import Transaction
from headwater.backends.sqlite.writer import Outcome, Work, Writer
from headwater.errors import HeadwaterError, OutcomeUnknown, StoreUnavailable

__all__ = ["KafkaWriter"]


class KafkaWriter(Writer):
    """Does units of work in a transaction of the index, commits to Kafka what they have changed, and then the index.

    Where Kafka refuses, the index is rolled back. Where the index fails after Kafka has committed, its follower reads
    what is missing.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        file: StoreFile,
        committed: Callable[[], None],
        ownership: Ownership,
        follower: Follower,
        identity: str,
    ) -> None:
        self._ownership = ownership
        self._follower = follower
        self._identity = identity
        self._sent: list[Mark] = []  # what of the transaction under way is in Kafka
        self._changes = Changes([], [])
        self._outcomes: list[Outcome] = []
        capture(connection)
        super().__init__(connection, file, committed)
        self._beating = Beating(ownership, self._turn)

    def close(self) -> None:
        """Commit what waits, and let others own the store."""
        super().close()
        self._beating.close()
        with self._turn:
            self._ownership.release()

    def _transact(self, group: Sequence[Work], *, look_ids_up: bool) -> list[Outcome]:
        self._sent.clear()
        self._ownership.ensure()
        try:
            with self._follower.turn:
                outcomes = super()._transact(group, look_ids_up=look_ids_up)
                for sent in self._sent:
                    self._follower.done(sent)
            return outcomes
        except Unsure as unsure:
            return self._resolved(unsure)
        except StoreUnavailable as refused:
            if refused.transient or len(group) == 1:
                raise
            return [self._alone(work) for work in group]  # a message may be too large: that is not the others' fault
        except sqlite3.Error:
            if not self._sent:
                raise
            self._ownership.lose()  # whoever becomes the owner, waits for the follower first
            with suppress(HeadwaterError):
                self._follower.to_end()
            return self._outcomes

    def _alone(self, work: Work) -> Outcome:
        try:
            return self._transact([work], look_ids_up=True)[0]
        except HeadwaterError as refused:
            return None, refused

    def _before_commit(self, transaction: Transaction, position: int, outcomes: list[Outcome]) -> None:
        found = changes(transaction.connection, position, SNAPSHOT_BYTES_MAX)
        if not found.events and not found.beside:
            if any(refusal for _, refusal in outcomes):  # by a former owner's index, it might be wrong
                self._ownership.prove()
            return
        self._outcomes, self._changes = outcomes, found
        sent = self._ownership.commit(found, transaction.heads.position, self._identity)
        self._sent.append(sent)
        keep(transaction.connection, SEQUENCE, str(sent.sequence))
        keep(transaction.connection, OFFSET, str(self._follower.offset))

    def _resolved(self, unsure: Unsure) -> list[Outcome]:
        """No sure answer came. Once the brokers have settled all that was begun, the topic tells."""
        outcomes = self._outcomes
        try:
            refusal = self._ownership.resolve(unsure)
        except StoreUnavailable as away:
            raise self._unknown(f"no answer came to a commit ({unsure})") from away
        return outcomes if refusal is None else [each if each[1] else (None, refusal) for each in outcomes]

    def _unknown(self, reason: str) -> OutcomeUnknown:
        return OutcomeUnknown([uuid.UUID(bytes=event.raw_id) for event in self._changes.events], reason)
