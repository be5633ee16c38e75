"""Between what a program holds and the bytes that a backend stores."""

from __future__ import annotations

from headwater.codecs.checking import check_expectation, check_place, check_query, checked_name
from headwater.codecs.encoding import encode_event, encode_json
from headwater.codecs.personal import (
    PERSONAL_KEY,
    PERSONAL_MARK,
    PLACEHOLDER,
    PersonalPart,
    SealedState,
    blanked,
    checked_parts,
    parts_of,
    people_in,
    place_of,
)

__all__ = [
    "PERSONAL_KEY",
    "PERSONAL_MARK",
    "PLACEHOLDER",
    "PersonalPart",
    "SealedState",
    "blanked",
    "check_expectation",
    "check_place",
    "check_query",
    "checked_name",
    "checked_parts",
    "encode_event",
    "encode_json",
    "parts_of",
    "people_in",
    "place_of",
]
