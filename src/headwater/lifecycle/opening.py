"""Opening a store that must be there already: reading must not make an empty one out of a mistyped name."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from urllib.parse import parse_qsl, urlsplit

from headwater.connect import connect
from headwater.store import EventStore

__all__ = ["open_existing"]


def open_existing(url: str) -> AbstractAsyncContextManager[EventStore]:
    """``connect``, but a file is opened read-only, so that it is neither made nor changed."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite" and "mode" not in dict(parse_qsl(parts.query)):
        url += ("&" if parts.query else "?") + "mode=ro"
    return connect(url)
