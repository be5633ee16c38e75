"""The thread that reads both topics and lets the index have what is not in it yet.

It reads committed messages only. What this process has committed as the owner is in the index already, and is passed
over: events are known by their positions, what is beside the log by the number of its transaction. Of a stream's policy
or deletion the index learns once it has the events that were there before.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import msgspec
from confluent_kafka import IsolationLevel, KafkaError, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from headwater.backends.kafka.clients import CALL_SECONDS, consumer, ends_of, unavailable
from headwater.backends.kafka.index import IDENTITY, OFFSET, SEQUENCE, apply_event
from headwater.backends.kafka.messages import (
    COMMIT,
    OWNER,
    STORE,
    Committed,
    Mark,
    Owner,
    Received,
    Store,
    event_of,
    position_of,
    split_key,
)
from headwater.backends.kafka.url import Place
from headwater.backends.sqlite.connections import StoreFile, begin
from headwater.backends.sqlite.mirror import STREAM, Beside, apply_beside, fact, keep
from headwater.backends.sqlite.transaction import Heads, Transaction
from headwater.errors import CorruptStore, HeadwaterError, StoreUnavailable
from headwater.events import Event

__all__ = ["Follower"]

BATCH = 250
"""Messages that are applied in one transaction of the index."""
RETRY_SECONDS = 1.0
SETTLING_SECONDS = 60.0
"""The brokers look every ten seconds for transactions whose owner is gone, and abort those that are ten seconds old."""
OWNERS = 100
TOKENS = 10_000
"""Transactions whose tokens are remembered: the one that is asked for is among the last."""


class Follower:
    """Reads the topics until it is closed. What it has seen may be asked in any thread."""

    def __init__(
        self,
        place: Place,
        admin: AdminClient,
        file: StoreFile,
        connection: sqlite3.Connection,
        applied: Callable[[], None],
    ) -> None:
        """``applied`` is told when something new is in the index."""
        self._place = place
        self._file = file
        self._connection = connection
        self._applied = applied
        self._heads = Heads(connection)
        self._waiting: list[tuple[Mark, Beside]] = []  # what is told of streams whose events have not come
        self.turn = threading.Lock()
        """Held by whoever is in a transaction of the index: the owner, or this thread."""
        self._own = Mark(0, 0)  # what the owner, who is us, has put into the index
        self._changed = threading.Condition()
        self._ends = {place.events: int(fact(connection, OFFSET)), place.beside: 0}
        self._closing = False
        self._heard = time.monotonic()
        self.failure: HeadwaterError | None = None
        """Why it follows no more."""
        self.store: Store | None = None
        self.owners: deque[Owner] = deque(maxlen=OWNERS)
        """Who has owned the store, in order, as far as the topic still tells."""
        self.committed = Committed("", 0, 0)
        """The last transaction that was seen."""
        self._tokens: deque[str] = deque(maxlen=TOKENS)
        self._admin = admin
        self._consumer = consumer(place)
        self._thread = threading.Thread(target=self._run, name="headwater-kafka-follower", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._consumer.assign([TopicPartition(topic, 0, offset) for topic, offset in self._ends.items()])
        self._thread.start()

    def close(self) -> None:
        """Read no more."""
        self._closing = True
        if self._thread.is_alive():
            self._thread.join()
        self._consumer.close()
        self._connection.close()

    @property
    def offset(self) -> int:
        """Where to read events on, next time."""
        return self._ends[self._place.events]

    def done(self, own: Mark) -> None:
        """The owner's transactions up to this one are in the index. Called in the owner's turn."""
        self._own = own

    def has_seen(self, token: str) -> bool:
        """Whether the transaction was committed, and has come by."""
        return token in self._tokens

    def check(self) -> None:
        """Raise why it follows no more, if it does not."""
        if self.failure is not None:
            raise self.failure

    def owner(self) -> tuple[Owner | None, float]:
        """Who owns the store now, and for how many seconds nothing was heard of it."""
        with self._changed:
            return (self.owners[-1] if self.owners else None), time.monotonic() - self._heard

    def sequence(self) -> int:
        """The number of the last transaction that was committed."""
        return self.committed.sequence

    def to_owner(self, token: str) -> None:
        """Wait until this owner's mark has come by, and the index holds all that was committed before it."""
        self.wait(lambda: any(owner.token == token for owner in self.owners) and self.whole())

    def to_end(self) -> None:
        """Wait until all that is committed now is in the index. Raises ``StoreUnavailable``, ``CorruptStore``."""
        self._pass(ends_of(self._admin, self._place, IsolationLevel.READ_COMMITTED), CALL_SECONDS)

    def to_settled(self) -> None:
        """Wait until every transaction that anybody has begun is committed or aborted, and the index holds what was
        committed. Raises as ``to_end`` does."""
        self._pass(ends_of(self._admin, self._place, IsolationLevel.READ_UNCOMMITTED), SETTLING_SECONDS)

    def _pass(self, ends: dict[str, int], seconds: float) -> None:
        self.wait(lambda: all(self._ends[topic] >= end for topic, end in ends.items()) and self.whole(), seconds)

    def whole(self) -> bool:
        """Whether the index holds every event that the last transaction seen has left in the log."""
        position = max(self._heads.position, self._own.position)
        return position >= self.committed.position and not self._waiting

    def wait(self, condition: Callable[[], bool], seconds: float = CALL_SECONDS) -> None:
        """Wait until this holds. Raises ``StoreUnavailable`` where it does not in time."""
        with self._changed:
            self._changed.wait_for(lambda: condition() or self.failure is not None or self._closing, seconds)
            self.check()
            if not condition():
                raise StoreUnavailable(
                    f"{self._place.shown} did not show what is committed within {seconds:g} s",
                    "Are the brokers up? Does a transaction hang that another program has begun on these topics?",
                )

    def _run(self) -> None:
        while not self._closing:
            try:
                messages = self._consumer.consume(BATCH, 0.02)
                if messages:
                    self._take(messages)
            except sqlite3.OperationalError:  # the disk is full, or another reader is in the way
                self._again()
            except HeadwaterError as failure:
                self._end(failure)
                return
            except Exception as failure:  # a message that is none of ours, a damaged index: nobody may wait for ever
                finding = f"what was read can't be applied ({type(failure).__name__}: {failure})"
                self._end(CorruptStore(self._place.shown, finding, "Run headwater verify, or remove the index."))
                return

    def _again(self) -> None:
        """Read what was not applied once more, a little later."""
        self._heads.forget()
        time.sleep(RETRY_SECONDS)
        for topic, offset in self._ends.items():
            self._consumer.seek(TopicPartition(topic, 0, offset))

    def _end(self, failure: HeadwaterError) -> None:
        with self._changed:
            self.failure = failure
            self._changed.notify_all()

    def _take(self, messages: Sequence[Message]) -> None:
        events: list[Message] = []
        beside: list[tuple[Mark, Beside]] = []
        ends = dict(self._ends)
        told: list[Store | Owner | Committed] = []
        for message in messages:
            error, topic, offset = message.error(), message.topic() or "", message.offset() or 0
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    ends[topic] = max(ends[topic], offset)
                else:
                    self._judge(error)
                continue
            ends[topic] = offset + 1
            if topic == self._place.events:
                events.append(message)
            else:
                self._sort(message, beside, told)
        with self.turn:
            new = self._apply(events, beside, told, ends)
        with self._changed:
            self._ends = ends
            for each in told:
                self._learn(each)
            self._changed.notify_all()
        if new:
            self._applied()

    def _judge(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise CorruptStore(
                self._place.shown,
                f"the index is ahead of the topics, or messages were removed from them ({error.str()})",
                "Was a topic made anew, or its retention changed? Where the topics are right, remove the index.",
            )
        if error.fatal():
            raise unavailable(self._place, error)

    def _sort(self, message: Message, beside: list[tuple[Mark, Beside]], told: list[Store | Owner | Committed]) -> None:
        kind, name = split_key(message.key() or b"")
        value = message.value()
        if kind == STORE:
            told.append(msgspec.json.decode(value or b"", type=Store))
        elif kind == OWNER:
            told.append(msgspec.json.decode(value or b"", type=Owner))
        elif kind == COMMIT:
            told.append(msgspec.json.decode(value or b"", type=Committed))
        else:
            marks = dict(message.headers() or [])
            mark = msgspec.msgpack.decode(marks["headwater"], type=Mark)  # type: ignore[arg-type]
            beside.append((mark, (kind, name, value)))

    def _apply(
        self,
        messages: Sequence[Message],
        changes: Sequence[tuple[Mark, Beside]],
        told: Sequence[Store | Owner | Committed],
        ends: dict[str, int],
    ) -> bool:
        """Let the index have what is new to it; whether anything is."""
        own = self._own
        events = [event_of(*parts) for parts in map(_parts, messages) if position_of(parts[2]) > own.position]
        beside = [each for each in [*self._waiting, *changes] if each[0].sequence > own.sequence]
        stores = [each for each in told if isinstance(each, Store)]
        sequences = [each.sequence for each in told if isinstance(each, Committed) and each.sequence > own.sequence]
        if not (events or beside or stores or sequences):
            self._waiting = []
            return False
        with self._transaction() as connection:
            self._apply_events(connection, events)
            whole = int(fact(connection, SEQUENCE))
            waiting = []
            for mark, change in beside:
                if mark.sequence <= whole:
                    continue
                if change[0] == STREAM and change[2] is not None and mark.position > self._heads.position:
                    waiting.append((mark, change))
                else:
                    apply_beside(connection, change)
            for store in stores:
                self._note(connection, store)
            if not waiting:
                keep(connection, SEQUENCE, str(max([whole, *sequences])))
            keep(connection, OFFSET, str(ends[self._place.events]))
        self._waiting = waiting
        return True

    def _apply_events(self, connection: sqlite3.Connection, events: Sequence[Event]) -> None:
        position = self._heads.position
        transaction = Transaction(connection, self._heads, look_ids_up=False)
        for event in events:
            if event.position > position:
                apply_event(transaction, event)
        transaction.flush()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        begin(connection, self._file)
        try:
            self._heads.refresh()
            yield connection
            connection.execute("commit")
        except BaseException:
            self._heads.forget()
            if connection.in_transaction:
                connection.execute("rollback")
            raise

    def _note(self, connection: sqlite3.Connection, store: Store) -> None:
        identity = fact(connection, IDENTITY)
        if identity not in ("", store.identity):
            raise CorruptStore(
                str(self._file.path),
                f"it is the index of the store {identity}; {self._place.shown} is {store.identity}",
                "Name another file as index=, or remove this one: it is made again from the topics.",
            )
        if store.format != 1:
            raise StoreUnavailable(
                f"{self._place.shown} has format {store.format}, made by a newer Headwater",
                "Upgrade headwater.",
                transient=False,
            )
        keep(connection, IDENTITY, store.identity)
        keep(connection, "identity", store.identity)

    def _learn(self, told: Store | Owner | Committed) -> None:
        if isinstance(told, Store):
            self.store = told
            return
        self._heard = time.monotonic()
        if isinstance(told, Owner):
            if not self.owners or self.owners[-1].token != told.token:
                self.owners.append(told)
        else:
            self.committed = told
            self._tokens.append(told.token)


def _parts(message: Message) -> tuple[bytes | None, bytes | None, Received]:
    return message.key(), message.value(), message.headers() or []  # type: ignore[return-value]
