"""Typed events: classes that are stored as events, and read again in whatever shape they were stored."""

from headwater.typed.codec import Codec, Unknown, UnreadableEvent
from headwater.typed.declaring import Change, InvalidType, event, type_name
from headwater.typed.personal import Personal
from headwater.typed.reshaping import Merge, Split
from headwater.typed.stored import StoredShape, stored_shapes

__all__ = [
    "Change",
    "Codec",
    "InvalidType",
    "Merge",
    "Personal",
    "Split",
    "StoredShape",
    "Unknown",
    "UnreadableEvent",
    "event",
    "stored_shapes",
    "type_name",
]
