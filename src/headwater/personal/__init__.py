"""Personal data: sealed under a key of each person's own, in a vault beside the store.

Once the key is gone, every copy is unreadable. Needs the extra ``personal``.
"""

from __future__ import annotations

from typing import cast

from headwater.backend import Backend
from headwater.limits import Limits
from headwater.personal.sealing import SealedBackend
from headwater.personal.vault import KEEP_SECONDS, Vault
from headwater.personal.wrapping import KeyWrapper, MasterKey

__all__ = ["KEEP_SECONDS", "KeyWrapper", "MasterKey", "with_vault"]


def with_vault(backend: Backend, keys: Backend, limits: Limits, wrapper: KeyWrapper | None = None) -> Backend:
    """The backend, with what is personal sealed under keys that are kept in another one. Closing it closes both."""
    return cast(Backend, SealedBackend(backend, Vault(keys, limits, wrapper), limits))
