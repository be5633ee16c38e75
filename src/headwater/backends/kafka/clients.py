"""Clients of Kafka with the settings that the promises stand on, topics, and failures in our words."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic

from headwater.backends.kafka.url import Place
from headwater.errors import StoreUnavailable

__all__ = [
    "CALL_SECONDS",
    "MESSAGE_BYTES",
    "admin_of",
    "consumer",
    "discard",
    "ends_of",
    "ensure_topics",
    "is_fencing",
    "message_bytes_max",
    "producer",
    "topic_settings",
    "unavailable",
]

CALL_SECONDS = 30.0
"""For one answer of the brokers."""

TRANSACTION_MS = 10_000
"""After so long the brokers abort a transaction that a dead owner has left open; readers wait no longer."""

MESSAGE_BYTES = 8_388_608
"""What the topics take at most, where we make them."""

EVENTS = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
BESIDE = {"cleanup.policy": "compact", "segment.bytes": "16777216", "segment.ms": "3600000"}

_LOG = logging.getLogger("headwater.kafka")
_SILENT = {"logger": _LOG, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 1000}

_FINAL = {
    KafkaError._AUTHENTICATION: "Check the user and the password.",
    KafkaError.SASL_AUTHENTICATION_FAILED: "Check the user and the password.",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "Allow this user to read, write, make and describe the store's topics.",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "Allow this user to write by the store's transactional id.",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "Allow this user to make topics, or make them first.",
    KafkaError.MSG_SIZE_TOO_LARGE: f"Raise max.message.bytes of the store's topics to {MESSAGE_BYTES}.",
    KafkaError._INVALID_ARG: "Check the options in the URL.",
}


_PASSING = (
    KafkaError._NOENT,
    KafkaError._TRANSPORT,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)


def producer(place: Place, message_bytes: int) -> Producer:
    """The owner's producer: what it sends is acknowledged by all replicas in sync, in transactions."""
    return Producer(
        place.settings(
            **_SILENT,
            transactional_id=f"headwater.{place.name}",
            transaction_timeout_ms=TRANSACTION_MS,
            message_timeout_ms=TRANSACTION_MS,
            message_max_bytes=message_bytes,  # a larger one is refused before it is sent, alone
            linger_ms=0,
        )
    )


def discard(producer: Producer) -> None:
    """Let go of a producer and of what it has not sent. An open transaction stays open: the next owner ends it."""
    with suppress(KafkaException, RuntimeError):
        producer.purge()


def consumer(place: Place) -> Consumer:
    """A reader of committed messages that belongs to no group. An offset that is not there is an error."""
    return Consumer(
        place.settings(
            **_SILENT,
            group_id=f"headwater.{place.name}",  # the client wants one; nothing is kept under it
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="error",
            enable_partition_eof=True,
            fetch_wait_max_ms=100,
            fetch_error_backoff_ms=50,
            queued_max_messages_kbytes=16_384,
        )
    )


def ensure_topics(admin: AdminClient, place: Place) -> None:
    """Make the topics that are missing. Raises ``StoreUnavailable``, also where they are not to be made."""
    try:
        missing = _missing(admin, place)
        if missing and not place.create:
            raise StoreUnavailable(
                f"there is no store {place.name} at {place.servers}",
                "Check the name; an import or an append makes a store.",
                transient=False,
            )
        settings = {place.events: EVENTS, place.beside: BESIDE}
        _make(admin, {name: settings[name] for name in missing}, place)
        deadline = time.monotonic() + CALL_SECONDS
        while missing and _missing(admin, place) and time.monotonic() < deadline:
            time.sleep(0.02)
    except KafkaException as failure:
        raise unavailable(place, failure.args[0]) from failure


def _missing(admin: AdminClient, place: Place) -> list[str]:
    there = admin.list_topics(timeout=CALL_SECONDS).topics
    return [name for name in (place.events, place.beside) if name not in there]


def _make(admin: AdminClient, wanted: Mapping[str, Mapping[str, str]], place: Place) -> None:
    size = {"max.message.bytes": str(MESSAGE_BYTES)}
    topics = [NewTopic(name, 1, place.replication, config={**how, **size}) for name, how in wanted.items()]
    for made in admin.create_topics(topics).values() if topics else ():
        try:
            made.result(CALL_SECONDS)
        except KafkaException as failure:
            if failure.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def ends_of(admin: AdminClient, place: Place, isolation: IsolationLevel) -> dict[str, int]:
    """Where the messages of each topic end now: the committed ones, or all. Raises ``StoreUnavailable``."""
    asked = {TopicPartition(topic, 0): OffsetSpec.latest() for topic in (place.beside, place.events)}  # type: ignore[no-untyped-call]
    deadline = time.monotonic() + CALL_SECONDS
    while True:
        try:
            answers = admin.list_offsets(asked, isolation_level=isolation, request_timeout=CALL_SECONDS)
            return {each.topic: int(answer.result(CALL_SECONDS).offset) for each, answer in answers.items()}
        except KafkaException as failure:  # a topic's leader may be new, or away for a moment
            error: KafkaError = failure.args[0]
            if error.code() not in _PASSING or time.monotonic() > deadline:
                raise unavailable(place, error) from failure
            time.sleep(0.02)


def topic_settings(admin: AdminClient, place: Place) -> tuple[dict[str, str], dict[str, str]]:
    """The settings of the topic of events and of the one beside it. Raises ``KafkaException``."""
    asked = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in (place.events, place.beside)]
    answers = admin.describe_configs(asked, request_timeout=CALL_SECONDS)
    events, beside = [
        {name: str(entry.value) for name, entry in answers[each].result(CALL_SECONDS).items()} for each in asked
    ]
    return events, beside


def message_bytes_max(admin: AdminClient, place: Place) -> int:
    """The largest message that both topics take. Where they can't be asked: as topics are that we make."""
    try:
        return min(int(each["max.message.bytes"]) for each in topic_settings(admin, place))
    except KafkaException:
        return MESSAGE_BYTES


def admin_of(place: Place) -> AdminClient:
    """A client that asks about topics."""
    return AdminClient(place.settings(**_SILENT))


def is_fencing(error: KafkaError) -> bool:
    """Whether another owner has come, or the brokers have ended a transaction that took too long: they say the same."""
    # Codes, not names: KafkaError.name() raises SystemError for some of them (confluent-kafka 2.16.1).
    return error.code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED)


def unavailable(place: Place, error: KafkaError) -> StoreUnavailable:
    """Our error for the client's."""
    remedy = _FINAL.get(error.code())
    said = f"{place.shown}: {error.str()}"
    if remedy:
        return StoreUnavailable(said, remedy, transient=False)
    return StoreUnavailable(said, "Are the brokers up, and does the URL name them rightly?")
