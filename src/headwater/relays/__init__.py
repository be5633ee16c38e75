"""Committed events out to brokers, from any home of events. Needs the extra ``kafka``."""

from __future__ import annotations

from headwater.relays.kafka import KafkaPublisher, KafkaTopic, PlainKafkaPublisher
from headwater.relays.relay import Publisher, Relay, Relayed

__all__ = ["KafkaPublisher", "KafkaTopic", "PlainKafkaPublisher", "Publisher", "Relay", "Relayed"]
