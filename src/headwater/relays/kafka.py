"""Publishing to Kafka: events and the relay's place in one transaction, so that neither is there without the other.

Whoever opens the transactional id next puts its predecessor out of action, and aborts what that had begun (KIP-98). The
place is the last record of a small compacted topic of the relay's own, which nobody else writes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from headwater.backend import Checkpoint
from headwater.connect import redacted
from headwater.errors import BadUrl, Fenced, StoreUnavailable
from headwater.events import Event
from headwater.relays.cloudevents import headers_of

__all__ = ["KafkaPublisher", "KafkaTopic"]

CALL_SECONDS = 30.0
"""For one answer of the brokers."""
TRANSACTION_MS = 10_000
"""After so long the brokers abort a transaction that a dead process has left open; its readers wait no longer."""
MESSAGE_BYTES = 104_857_600
"""The client lets every message through: the brokers know their own limit."""

EXAMPLE = "Write kafka://localhost:9092/loans, with ?partitions=8 or options of librdkafka (security.protocol=SSL)."
FOREVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
COMPACTED = {"cleanup.policy": "compact"}
_NAME = re.compile(r"[A-Za-z0-9._-]{1,180}")
_OURS = ("partitions", "replication")


class KafkaTopic(msgspec.Struct, frozen=True):
    """A topic, and how to reach it."""

    servers: str
    topic: str
    partitions: int = 1
    """Of the topic, where it has to be made. Messages of one stream stay in one."""
    replication: int | None = None
    """Copies of it; the brokers' default where left out."""
    options: dict[str, str] = {}
    """Options of librdkafka, by their names there."""

    @classmethod
    def parse(cls, url: str) -> KafkaTopic:
        """``kafka://host:port[,host:port]/topic?partitions=8&security.protocol=SSL``. Raises ``BadUrl``."""
        parts = urlsplit(url)
        topic, options = unquote(parts.path[1:]), dict(parse_qsl(parts.query, keep_blank_values=True))
        shown = redacted(url)
        if parts.scheme != "kafka" or not parts.netloc or "@" in parts.netloc:
            raise BadUrl(shown, "it names no brokers, or more than those", EXAMPLE)
        if not _NAME.fullmatch(topic):
            raise BadUrl(shown, f"{topic!r} can't be a topic", EXAMPLE)
        numbers = {name: options.pop(name) for name in _OURS if name in options}
        if unknown := [name for name in options if "." not in name]:
            raise BadUrl(shown, f"the option {unknown[0]!r} is not known", EXAMPLE)
        if wrong := [name for name, text in numbers.items() if not text.isdecimal() or int(text) < 1]:
            raise BadUrl(shown, f"{wrong[0]} is {numbers[wrong[0]]!r}", "Write a number from 1 up.")
        return cls(parts.netloc, topic, options=options, **{name: int(text) for name, text in numbers.items()})

    def settings(self, **more: Any) -> dict[str, Any]:
        """For a client of librdkafka."""
        return {"bootstrap.servers": self.servers, "log.queue": True, **self.options, **more}


class KafkaPublisher:
    """See ``headwater.relays.Publisher``. Exactly once: each event is in the topic once, in the order of its stream.

    Consumers must read with ``isolation.level=read_committed``, as most clients' default is not; a Java consumer's is
    ``read_uncommitted`` too. Messages have the stream as their key and CloudEvents headers.

    Arguments:
        topic: where to.
        name: of the relay: one process publishes under it at a time, and its place is kept under it.
    """

    def __init__(self, topic: KafkaTopic, name: str = "relay") -> None:
        if not _NAME.fullmatch(name):
            raise BadUrl(name, "it can't be a relay's name", "Use letters, digits, dots, dashes and underscores.")
        self._topic = topic
        self._name = name
        self._lost: list[KafkaError] = []
        self._producer: Any = None
        self._store = ""

    keeps_place = True

    @property
    def name(self) -> str:
        """See ``Publisher``."""
        return self._name

    @property
    def places(self) -> str:
        """The topic that keeps the relay's place."""
        return f"{self._topic.topic}.{self._name}.place"

    def open(self, store: str) -> Checkpoint | None:
        """See ``Publisher``. Makes the topics that are not there."""
        self._store = store
        try:
            self._make_topics([(self._topic.topic, self._topic.partitions, FOREVER), (self.places, 1, COMPACTED)])
            settings = self._topic.settings(
                **{
                    "transactional.id": f"headwater.{self._topic.topic}.{self._name}",
                    "transaction.timeout.ms": TRANSACTION_MS,
                    "message.max.bytes": MESSAGE_BYTES,
                    "linger.ms": 2,
                }
            )
            self._producer = Producer(settings)
            self._producer.init_transactions(CALL_SECONDS)
            return self._place()
        except KafkaException as error:
            raise self._failed(error) from error

    def publish(self, events: Sequence[Event], place: Checkpoint) -> None:
        """See ``Publisher``."""
        producer = self._producer
        try:
            producer.begin_transaction()
            self._send_events(events)
            self._send(self.places, msgspec.json.encode(place), self._name.encode(), [])
            producer.commit_transaction(CALL_SECONDS)
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.MSG_SIZE_TOO_LARGE:
                with suppress(KafkaException):
                    producer.abort_transaction(CALL_SECONDS)
                largest = max((len(event.raw_data) for event in events), default=0)
                raise StoreUnavailable(
                    f"Kafka refuses an event of up to {largest:,} bytes as too large for the topic {self._topic.topic}",
                    "Raise the topic's max.message.bytes, and start the relay again: nothing was passed over.",
                    transient=False,
                ) from error
            if code in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED):
                raise Fenced(self._name, 0) from error
            raise self._failed(error) from error  # opening again tells what came of it

    def close(self) -> None:
        """See ``Publisher``."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaException):
                producer.purge()
                producer.abort_transaction(1.0)

    def _send_events(self, events: Sequence[Event]) -> None:
        for event in events:
            key = (event.stream or str(event.id)).encode()
            self._send(self._topic.topic, event.raw_data, key, headers_of(event, self._store))

    def _send(self, topic: str, value: bytes, key: bytes, headers: list[tuple[str, bytes]]) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, headers=headers)
                self._producer.poll(0)
                return
            except BufferError:  # the client's queue is full: wait until some of it has gone out
                self._producer.poll(0.1)

    def _make_topics(self, wanted: Sequence[tuple[str, int, dict[str, str]]]) -> None:
        admin = AdminClient(self._topic.settings())
        there = admin.list_topics(timeout=CALL_SECONDS).topics
        copies = -1 if self._topic.replication is None else self._topic.replication
        missing = [NewTopic(name, parts, copies, config=how) for name, parts, how in wanted if name not in there]
        for made in admin.create_topics(missing).values() if missing else ():
            try:
                made.result(CALL_SECONDS)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise

    def _place(self) -> Checkpoint | None:
        """The last place that was committed. Nothing is under way in its topic: opening has aborted that."""
        consumer = Consumer(
            self._topic.settings(
                **{
                    "group.id": f"headwater.{self._name}",
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "isolation.level": "read_committed",
                }
            )
        )
        found: bytes | None = None
        try:
            consumer.assign([TopicPartition(self.places, 0, OFFSET_BEGINNING)])
            while True:
                message = consumer.poll(CALL_SECONDS)
                if message is None:
                    raise self._unavailable("the topic of the relay's place does not answer")
                error = message.error()
                if error is None:
                    found = message.value() or found
                elif error.code() == KafkaError._PARTITION_EOF:
                    return None if found is None else msgspec.json.decode(found, type=Checkpoint)
                elif error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:  # made a moment ago: not known everywhere yet
                    raise KafkaException(error)
        finally:
            consumer.close()

    def _failed(self, error: KafkaException) -> StoreUnavailable:
        return self._unavailable(str(error.args[0].str()))

    def _unavailable(self, what: str) -> StoreUnavailable:
        return StoreUnavailable(f"Kafka at {self._topic.servers}: {what}", "It is tried again.")


class PlainKafkaPublisher(KafkaPublisher):
    """At least once, without transactions: the store keeps the place, after the brokers have taken the messages."""

    keeps_place = False

    def open(self, store: str) -> Checkpoint | None:
        """See ``Publisher``."""
        self._store = store
        try:
            self._make_topics([(self._topic.topic, self._topic.partitions, FOREVER)])
            settings = {"enable.idempotence": True, "message.max.bytes": MESSAGE_BYTES, "linger.ms": 2}
            self._producer = Producer(self._topic.settings(on_delivery=self._delivered, **settings))
        except KafkaException as error:
            raise self._failed(error) from error
        return None

    def publish(self, events: Sequence[Event], place: Checkpoint) -> None:
        """See ``Publisher``."""
        self._lost = []
        try:
            self._send_events(events)
            waiting = self._producer.flush(CALL_SECONDS)
        except KafkaException as error:
            raise self._failed(error) from error
        if waiting or self._lost:
            what = self._lost[0].str() if self._lost else f"{waiting} messages were not taken in {CALL_SECONDS:g} s"
            raise self._unavailable(str(what))

    def close(self) -> None:
        """See ``Publisher``."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()

    def _delivered(self, error: KafkaError | None, message: object) -> None:
        if error is not None:
            self._lost.append(error)
