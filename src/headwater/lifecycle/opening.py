"""Opening a store that must be there already: reading must not make an empty one out of a mistyped name."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from headwater.connect import connect
from headwater.errors import StoreUnavailable
from headwater.store import EventStore

__all__ = ["open_existing"]


def open_existing(url: str, *, writing: bool = False) -> AbstractAsyncContextManager[EventStore]:
    """``connect``, but the store must be there already; one in a file is opened read-only, unless for ``writing``.

    Raises ``StoreUnavailable`` where there is no store.
    """
    parts = urlsplit(url)
    if parts.scheme in ("postgresql", "postgres"):
        url += ("&" if parts.query else "?") + "create=no"
    if parts.scheme == "sqlite":
        path = Path(unquote(parts.path[1:]))
        if path.name and not parts.netloc and not path.exists():
            raise StoreUnavailable(
                f"there is no store at {path}", "Check the name; an import or an append makes a store.", transient=False
            )
        if not writing and "mode" not in dict(parse_qsl(parts.query)):
            url += ("&" if parts.query else "?") + "mode=ro"
    return connect(url)
