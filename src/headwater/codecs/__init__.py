"""Between what a program holds and the bytes that a backend stores."""

from __future__ import annotations

from headwater.codecs.encoding import checked_name, encode_event, encode_json

__all__ = ["checked_name", "encode_event", "encode_json"]
