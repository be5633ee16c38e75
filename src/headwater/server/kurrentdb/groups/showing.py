"""What is known of a group, as clients show it."""

from __future__ import annotations

from typing import Any

from headwater.server.kurrentdb.groups.described import ALL, Described
from headwater.server.kurrentdb.groups.group import Group

__all__ = ["shown"]


def shown(target: Any, described: Described, group: Group | None, kept: int | None, parked: int) -> None:
    """Fill a ``SubscriptionInfo``. ``group`` where it is at work in this process."""
    target.event_source, target.group_name = described.source, described.group
    target.status = "Live" if group is not None and group.consumers else "NotReady"
    target.start_from = described.start
    target.resolve_link_tos = described.resolve_links
    target.extra_statistics = described.extra_statistics
    target.message_timeout_milliseconds = described.message_timeout_ms
    target.max_retry_count = described.max_retry_count
    target.live_buffer_size = described.live_buffer_size
    target.buffer_size = described.history_buffer_size
    target.read_batch_size = described.read_batch_size
    target.check_point_after_milliseconds = described.checkpoint_after_ms
    target.min_check_point_count = described.min_checkpoint_count
    target.max_check_point_count = described.max_checkpoint_count
    target.named_consumer_strategy = described.strategy
    target.max_subscriber_count = described.max_subscriber_count
    target.parked_message_count = parked
    if kept is not None:
        target.last_checkpointed_event_position = _place(described, kept)
    if group is not None:
        _at_work(target, described, group)


def _at_work(target: Any, described: Described, group: Group) -> None:
    if group.last_known:
        target.last_known_event_position = _place(described, group.last_known)
    target.live_buffer_count = len(group.waiting)
    target.retry_buffer_count = len(group.retrying)
    target.total_items = sum(each.total for each in group.consumers)
    target.total_in_flight_messages = sum(len(each.held) for each in group.consumers)
    target.outstanding_messages_count = target.total_in_flight_messages
    for consumer in group.consumers:
        connection = target.connections.add(
            username=consumer.user,
            total_items=consumer.total,
            available_slots=consumer.free,
            in_flight_messages=len(consumer.held),
            connection_name=consumer.name,
        )
        setattr(connection, "from", consumer.peer)


def _place(described: Described, position: int) -> str:
    """A position of the log, also for a stream: the place of a group is one."""
    return f"C:{position}/P:{position}" if described.source == ALL else str(position)
