"""The one process that may append: how it comes to own the store, commits, and learns that it owns it no more.

Safety rests on the transactional id alone (KIP-98): whoever opens it ends what the former owner has begun, and the next
commit of that one fails. When to open it is a matter of courtesy: not while the present owner gives signs of life.
"""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import suppress

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from headwater.backends.kafka.clients import CALL_SECONDS, discard, is_fencing, message_bytes_max, producer, unavailable
from headwater.backends.kafka.follower import Follower
from headwater.backends.kafka.messages import (
    COMMIT,
    OWNER,
    STORE,
    Committed,
    Headers,
    Mark,
    Owner,
    Store,
    headers_of,
    key_of,
)
from headwater.backends.kafka.url import Place
from headwater.backends.sqlite.mirror import Changes
from headwater.errors import NotOwner, StoreUnavailable

__all__ = ["LEASE_SECONDS", "Ownership", "Unsure"]

LEASE_SECONDS = 10.0
"""An owner that has given no sign of life for so long may be replaced."""
BEAT_SECONDS = 3.0
"""How often an owner that has nothing to commit gives one."""


class Unsure(Exception):
    """No answer came to a commit, or one that can have come too late. ``token``: of the transaction."""

    def __init__(self, token: str, error: KafkaError) -> None:
        super().__init__(error.str())
        self.token = token
        self.error = error


class Ownership:
    """This opening's right to append. Used by one thread at a time."""

    def __init__(self, place: Place, admin: AdminClient, follower: Follower, index: str) -> None:
        self._place = place
        self._admin = admin
        self._follower = follower
        self._index = index
        self._producer: Producer | None = None
        self._beaten = 0.0
        self._token = ""
        self._sequence = 0

    @property
    def held(self) -> bool:
        """Whether this opening is the owner, as far as it knows."""
        return self._producer is not None

    def ensure(self) -> None:
        """Become the owner, unless this opening is. Raises ``NotOwner`` while somebody else is at work."""
        self._follower.check()
        if self._producer is not None:
            return
        if not self._place.takeover:
            self._refuse_while_owned()
        self.become()

    def _refuse_while_owned(self) -> None:
        if self._is_owned():
            self._follower.to_end()  # it may have let go just now
        if self._is_owned():
            owner, silent = self._follower.owner()
            raise NotOwner(self._place.shown, owner.address if owner else "", max(0.0, LEASE_SECONDS - silent))

    def _is_owned(self) -> bool:
        owner, silent = self._follower.owner()
        return owner is not None and owner.token != "" and owner.index != self._index and silent < LEASE_SECONDS

    def become(self) -> None:
        """Become the owner, whoever was; the index then holds all that was ever committed."""
        self.lose()
        token = uuid.uuid4().hex
        made = producer(self._place, message_bytes_max(self._admin, self._place))
        try:
            made.init_transactions(CALL_SECONDS)
            made.begin_transaction()
            self._send(made, self._place.beside, key_of(OWNER, ""), self._mark(token))
            made.commit_transaction(CALL_SECONDS)
        except KafkaException as failure:
            discard(made)
            raise self._failure(failure.args[0]) from failure
        self._follower.to_owner(token)
        self._producer, self._token = made, token
        self._sequence = self._follower.sequence()
        self._beaten = time.monotonic()

    def _mark(self, token: str) -> bytes:
        return msgspec.json.encode(Owner(token, self._place.address if token else "", self._index))

    def make_store(self) -> None:
        """Say what the store is, where nobody has."""
        self.become()
        if self._follower.store is None:
            made = self._opened()
            made.begin_transaction()
            self._send(made, self._place.beside, key_of(STORE, ""), msgspec.json.encode(Store(str(uuid.uuid4()))))
            made.commit_transaction(CALL_SECONDS)
            self._follower.wait(lambda: self._follower.store is not None)

    def commit(self, changes: Changes, position: int, identity: str) -> Mark:
        """Commit changes to Kafka; which transaction it was. ``position``: the log's last afterwards.

        Raises ``NotOwner``, and ``StoreUnavailable`` where nothing was stored; ``Unsure`` where no answer came.
        """
        made = self._opened()
        token, sequence = uuid.uuid4().hex, self._sequence + 1
        mark = Mark(sequence, position)
        marked: Headers = [("headwater", msgspec.msgpack.encode(mark))]
        committed = msgspec.json.encode(Committed(token, position, sequence))
        committing = False
        try:
            made.begin_transaction()
            for event in changes.events:
                key = None if event.stream is None else event.stream.encode()
                self._send(made, self._place.events, key, event.raw_data, headers_of(event, identity))
            for kind, name, value in changes.beside:
                self._send(made, self._place.beside, key_of(kind, name), value, marked)
            self._send(made, self._place.beside, key_of(COMMIT, ""), committed)
            committing = True
            made.commit_transaction(CALL_SECONDS)  # it fails where a message has failed
        except KafkaException as failure:
            error: KafkaError = failure.args[0]
            if committing and not error.txn_requires_abort():
                self.lose()
                raise Unsure(token, error) from failure
            if is_fencing(error):
                raise self._lost() from failure
            self._abort(made)
            raise unavailable(self._place, error) from failure
        self._sequence = sequence
        self._beaten = time.monotonic()
        return mark

    def _send(
        self,
        made: Producer,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None = None,
    ) -> None:
        deadline = time.monotonic() + CALL_SECONDS
        while True:
            try:
                made.produce(topic, value, key, partition=0, headers=headers or [])
            except BufferError:  # more than the client keeps at a time
                if time.monotonic() > deadline:
                    raise StoreUnavailable(
                        f"{self._place.shown} took no messages for {CALL_SECONDS:g} s", "Are the brokers up?"
                    ) from None
                made.poll(0.05)
            else:
                return

    def _abort(self, made: Producer) -> None:
        try:
            made.abort_transaction(CALL_SECONDS)
        except KafkaException:
            self.lose()

    def _opened(self) -> Producer:
        assert self._producer is not None, "ensure comes first"
        return self._producer

    def _failure(self, error: KafkaError) -> StoreUnavailable:
        return self._lost() if is_fencing(error) else unavailable(self._place, error)

    def _lost(self) -> NotOwner:
        self.lose()
        owner, silent = self._follower.owner()
        address = owner.address if owner is not None and owner.token != self._token else ""
        return NotOwner(self._place.shown, address, max(0.0, LEASE_SECONDS - silent))

    def resolve(self, unsure: Unsure) -> StoreUnavailable | None:
        """Why the transaction was not committed; None where it was, after all. Raises ``StoreUnavailable`` where
        nothing can be learnt."""
        self._follower.to_settled()
        if self._follower.has_seen(unsure.token):
            return None
        if is_fencing(unsure.error):
            return self._lost()
        reason = f"no answer came to a commit ({unsure}), and it was not stored"
        return StoreUnavailable(f"{self._place.shown}: {reason}", "Append again.")

    def lose(self) -> None:
        """Own the store no more; what is not committed is left to whoever comes next."""
        if self._producer is not None:
            discard(self._producer)
            self._producer = None

    def beat(self) -> None:
        """Give a sign of life, where one is due."""
        if self._producer is not None and time.monotonic() - self._beaten > BEAT_SECONDS:
            with suppress(StoreUnavailable):
                self.prove()

    def prove(self) -> None:
        """Make sure that this opening is the owner still: so what it knows is all there is. Raises ``NotOwner``."""
        self._say(self._token)
        self._beaten = time.monotonic()

    def release(self) -> None:
        """Let others have the store at once."""
        if self._producer is not None:
            with suppress(StoreUnavailable):
                self._say("")
            self.lose()

    def _say(self, token: str) -> None:
        made = self._opened()
        try:
            made.begin_transaction()
            self._send(made, self._place.beside, key_of(OWNER, ""), self._mark(token))
            made.commit_transaction(CALL_SECONDS)
        except KafkaException as failure:
            self.lose()
            raise self._failure(failure.args[0]) from failure
        except StoreUnavailable:
            self.lose()
            raise


class Beating:
    """Has an owner give signs of life from a thread of its own, until it is closed."""

    def __init__(self, ownership: Ownership, turn: threading.Lock) -> None:
        self._ownership = ownership
        self._turn = turn
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headwater-kafka-owner", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ending.wait(BEAT_SECONDS / 3):
            with self._turn:
                self._ownership.beat()

    def close(self) -> None:
        """End the thread."""
        self._ending.set()
        self._thread.join()
