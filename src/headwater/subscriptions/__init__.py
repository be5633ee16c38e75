"""Delivering events: subscriptions, durable consumers and groups of them, parked events, and the delivery audit."""

from headwater.subscriptions.audit import Audit, audited
from headwater.subscriptions.consumer import Consumer
from headwater.subscriptions.consumers import ConsumerInfo, Consumers
from headwater.subscriptions.feed import CaughtUp, Feed, FellBehind, Mark, subscription_pages
from headwater.subscriptions.parking import ParkedEvents
from headwater.subscriptions.partitions import PartitionBy
from headwater.subscriptions.reactors import BlockingReaction, Reacting, Reaction, ReactionHandler
from headwater.subscriptions.scheduling import Scheduled, ScheduledEvents
from headwater.subscriptions.settings import BEGINNING, NOW, Every, OnFailure, Retry, Start
from headwater.subscriptions.sinks import Handler, Sink
from headwater.subscriptions.states import Parked

__all__ = [
    "BEGINNING",
    "NOW",
    "Audit",
    "BlockingReaction",
    "CaughtUp",
    "Consumer",
    "ConsumerInfo",
    "Consumers",
    "Every",
    "Feed",
    "FellBehind",
    "Handler",
    "Mark",
    "OnFailure",
    "Parked",
    "ParkedEvents",
    "PartitionBy",
    "Reacting",
    "Reaction",
    "ReactionHandler",
    "Retry",
    "Scheduled",
    "ScheduledEvents",
    "Sink",
    "Start",
    "audited",
    "subscription_pages",
]
