"""Opening a store with the vault of its people's keys, for commands that run the user's own code on events."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import typer

from headwater.cli.loading import named

if TYPE_CHECKING:
    from headwater.personal import KeyWrapper
    from headwater.store import EventStore

__all__ = ["MASTER_KEY", "VAULT", "WRAPPER", "key_wrapper", "open_with_vault"]

VAULT, MASTER_KEY, WRAPPER = "HEADWATER_VAULT", "HEADWATER_MASTER_KEY", "HEADWATER_KEY_WRAPPER"
"""Environment variables: the vault's URL; the key in base64 that its keys are wrapped under; or the name of a
``KeyWrapper`` of the user's own, ``package.module:name``."""


def open_with_vault(url: str, *, writing: bool = False) -> AbstractAsyncContextManager[EventStore]:
    """``open_existing``, with the vault that the environment names, where it names one."""
    from headwater.lifecycle import open_existing

    vault = os.environ.get(VAULT)
    return open_existing(url, writing=writing, vault=vault, wrapper=None if vault is None else key_wrapper())


def key_wrapper() -> KeyWrapper | None:
    """What wraps the vault's keys, as the environment says."""
    if wrapper := os.environ.get(WRAPPER):
        module, name = named(wrapper, "KeyWrapper")
        found: KeyWrapper | None = getattr(module, name, None)
        if not hasattr(found, "unwrap"):
            raise typer.BadParameter(f"{WRAPPER}: {wrapper.rpartition(':')[0]} has no KeyWrapper {name!r}.")
        return found
    if MASTER_KEY in os.environ:
        from headwater.personal import MasterKey

        return MasterKey.from_environment(MASTER_KEY)
    return None
