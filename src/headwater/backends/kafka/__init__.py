"""Events in a topic of Apache Kafka, as a store: one fenced owner appends, an index in SQLite answers.

The log is the truth. Whoever appends is the *owner*: its transactional id puts every earlier owner out of action. It
decides in a transaction of the index, commits what that has changed to Kafka, and only then commits the index. A thread
follows the topics and applies what others have written, so an index may be lost, or begin anywhere.
"""

from __future__ import annotations

from headwater.backends.kafka.backend import KafkaBackend, open

__all__ = ["KafkaBackend", "open"]
