"""What can be wrong with the brokers and topics below a store, and who owns it."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import KafkaException

from headwater.backend import Examined
from headwater.backends.kafka.clients import CALL_SECONDS, MESSAGE_BYTES, admin_of, topic_settings, unavailable
from headwater.backends.kafka.messages import Owner
from headwater.backends.kafka.url import Place
from headwater.limits import Limits

__all__ = ["examine"]

HEADERS_BYTES = 200_000
"""For an event's metadata, tags and names, at most about."""
COPIES = 3
"""Replicas that survive the loss of one broker while another is repaired."""


def examine(place: Place, owner: Owner | None, silent: float, held: bool) -> list[Examined]:
    """Everything, in a fixed order. Raises ``StoreUnavailable``."""
    admin = admin_of(place)
    try:
        brokers = admin.list_topics(timeout=CALL_SECONDS)
        events, beside = topic_settings(admin, place)
    except KafkaException as failure:
        raise unavailable(place, failure.args[0]) from failure
    topic = brokers.topics[place.events]
    copies = len(topic.partitions[0].replicas)
    return [
        Examined("brokers", "well", f"{len(brokers.brokers)} reached"),
        _replicas(copies, len(topic.partitions[0].isrs), int(events["min.insync.replicas"])),
        _partitions(len(topic.partitions)),
        _retention(events),
        _compaction(beside),
        _sizes(events, beside),
        _election(events),
        _ownership(owner, silent, held),
    ]


def _replicas(copies: int, in_sync: int, least: int) -> Examined:
    finding = f"{copies} copies, {in_sync} in sync; an append waits for all in sync, {least} at least"
    if in_sync < copies:
        return Examined("copies", "note", finding, "Look after the broker that is behind.")
    if copies >= COPIES and least >= 2:
        return Examined("copies", "well", finding)
    return Examined(
        "copies",
        "note",
        f"{finding}: the loss of a broker can lose what was acknowledged",
        f"Have {COPIES} copies (replication={COPIES} when the store is made) and min.insync.replicas=2.",
    )


def _partitions(count: int) -> Examined:
    if count == 1:
        return Examined("partitions", "well", "one, so that all events are in one order")
    return Examined(
        "partitions",
        "wrong",
        f"the topic of events has {count}: only the first is used",
        "Make the topic anew with one.",
    )


def _retention(events: Mapping[str, str]) -> Examined:
    policy, time, size = events["cleanup.policy"], events["retention.ms"], events["retention.bytes"]
    if policy == "delete" and time == "-1" and size == "-1":
        return Examined("retention", "well", "events are kept for ever")
    return Examined(
        "retention",
        "wrong",
        f"cleanup.policy={policy}, retention.ms={time}, retention.bytes={size}: the brokers remove events",
        "Set cleanup.policy=delete, retention.ms=-1 and retention.bytes=-1 on the topic of events.",
    )


def _compaction(beside: Mapping[str, str]) -> Examined:
    policy = beside["cleanup.policy"]
    if policy == "compact":
        return Examined("beside", "well", "the topic of what is kept beside the log is compacted")
    return Examined(
        "beside",
        "wrong",
        f"cleanup.policy={policy} on the topic of what is kept beside the log: consumers' places can vanish",
        "Set cleanup.policy=compact on it.",
    )


def _sizes(events: Mapping[str, str], beside: Mapping[str, str]) -> Examined:
    least = min(int(topic["max.message.bytes"]) for topic in (events, beside))
    finding = f"messages of up to {least:,} bytes"
    if least >= Limits().event_bytes_max + HEADERS_BYTES:
        return Examined("sizes", "well", finding)
    return Examined(
        "sizes",
        "wrong",
        f"{finding}, and an event may have {Limits().event_bytes_max:,} and its headers",
        f"Set max.message.bytes={MESSAGE_BYTES} on both topics.",
    )


def _election(events: Mapping[str, str]) -> Examined:
    if events["unclean.leader.election.enable"] != "true":
        return Examined("election", "well", "no broker that is behind can become the leader")
    return Examined(
        "election",
        "wrong",
        "unclean.leader.election.enable is true: a broker that is behind can become the leader, and events are lost",
        "Set it to false on the topic of events.",
    )


def _ownership(owner: Owner | None, silent: float, held: bool) -> Examined:
    if held:
        return Examined("owner", "well", "this opening")
    if owner is None or not owner.token:
        return Examined("owner", "well", "nobody: whoever appends first")
    return Examined("owner", "well", f"{owner.address}, which gave a sign of life {silent:.0f} s ago at most")
