"""Mending a store whose technology restores in parts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from headwater.connect import BACKENDS, loaded
from headwater.errors import NotSupported
from headwater.lifecycle.opening import existing

__all__ = ["repair"]


async def repair(url: str) -> list[str]:
    """Bring a store that was restored in parts back to whole appends; what was done, in sentences.

    Nobody else may use the store meanwhile. What can't be part of it any more is kept aside, not destroyed. Raises
    ``NotSupported`` where the technology restores a store whole or not at all, and ``StoreUnavailable`` where there is
    no store.
    """
    scheme = urlsplit(url).scheme
    module = BACKENDS.get(scheme, "").partition(":")[0]
    if scheme not in _MENDED:
        raise NotSupported(
            f"a store at {scheme}:", "repairs", "It is restored whole: run headwater verify without --repair."
        )
    mend: Callable[[str], Awaitable[list[str]]] = loaded(f"{module}:repair")
    return await mend(existing(url, writing=True))


_MENDED = {"dynamodb"}
"""Schemes of backends that have a ``repair``."""
