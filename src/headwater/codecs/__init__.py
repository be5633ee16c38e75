"""Between what a program holds and the bytes that a backend stores."""

from __future__ import annotations

from headwater.codecs.checking import check_expectation, check_place, check_query, checked_name
from headwater.codecs.encoding import encode_event, encode_json

__all__ = ["check_expectation", "check_place", "check_query", "checked_name", "encode_event", "encode_json"]
