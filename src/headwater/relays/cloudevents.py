"""Events as CloudEvents 1.0, in the binary mode of the Kafka protocol binding: data as they are, the rest in headers.

Attributes beyond the specification's own: ``sequence`` (the version in the stream), ``globalposition``,
``partitionkey`` (the stream), ``tags`` and ``metadata`` (JSON texts), ``correlationid`` and ``causationid``.
"""

from __future__ import annotations

import msgspec

from headwater.events import Event

__all__ = ["headers_of"]


def headers_of(event: Event, store: str) -> list[tuple[str, bytes]]:
    """The headers of an event's message. ``store``: the identity of the store that it comes from."""
    when = event.occurred_at or event.recorded_at
    metadata = event.metadata
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": str(event.id),
        "ce_source": f"urn:headwater:{store}",
        "ce_type": event.type,
        "ce_time": when.isoformat().replace("+00:00", "Z"),
        "ce_subject": event.stream,
        "ce_partitionkey": event.stream,
        "ce_sequence": str(event.version) if event.version else None,
        "ce_globalposition": str(event.position),
        "ce_tags": msgspec.json.encode(event.tags).decode() if event.tags else None,
        "ce_metadata": event.raw_metadata.decode() if metadata else None,
        "ce_correlationid": metadata.get("correlation_id"),
        "ce_causationid": metadata.get("causation_id"),
        "content-type": event.content_type,
    }
    return [(name, str(value).encode()) for name, value in attributes.items() if value is not None]
