"""Opening a store that must be there already: reading must not make an empty one out of a mistyped name."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from headwater.connect import connect
from headwater.errors import StoreUnavailable
from headwater.store import EventStore

if TYPE_CHECKING:
    from headwater.personal import KeyWrapper

__all__ = ["existing", "open_existing"]


def open_existing(
    url: str, *, writing: bool = False, vault: str | None = None, wrapper: KeyWrapper | None = None
) -> AbstractAsyncContextManager[EventStore]:
    """``connect``, but store and vault must be there already; a file is opened read-only, unless for ``writing``.

    Raises ``StoreUnavailable`` where there is no store.
    """
    keys = None if vault is None else existing(vault, writing=True)
    return connect(existing(url, writing=writing), vault=keys, wrapper=wrapper)


def existing(url: str, *, writing: bool) -> str:
    """The URL, so that nothing is made where there is no store."""
    parts = urlsplit(url)
    if parts.scheme in ("postgresql", "postgres", "dynamodb", "kafka", "kurrentdb", "kurrentdb+discover"):
        url += ("&" if parts.query else "?") + "create=no"
    if parts.scheme == "sqlite":
        path = Path(unquote(parts.path[1:]))
        if path.name and not parts.netloc and not path.exists():
            raise StoreUnavailable(
                f"there is no store at {path}", "Check the name; an import or an append makes a store.", transient=False
            )
        if not writing and "mode" not in dict(parse_qsl(parts.query)):
            url += ("&" if parts.query else "?") + "mode=ro"
    return url
