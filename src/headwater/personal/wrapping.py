"""Keys that keep keys: what a vault's contents are worth nothing without."""

from __future__ import annotations

import base64
import binascii
import os
from typing import Protocol

from headwater.errors import HeadwaterError, StoreUnavailable
from headwater.personal.cipher import SECRET_BYTES, NotOurs, seal, unseal

__all__ = ["KeyWrapper", "MasterKey", "NoWrapper"]


class KeyWrapper(Protocol):
    """The seam for a key management service: it wraps each person's key before the vault stores it.

    A vault asks once per person and process, and keeps what it was told in memory. Raise
    ``headwater.StoreUnavailable`` where the service is away: the caller may try again. An attribute ``stepped`` that is
    True says that it never suspends, so that ``headwater.sync`` needs no event loop for it.
    """

    @property
    def name(self) -> str:
        """Which service or key this is; kept beside each wrapped key, so that another one is noticed."""
        ...

    async def wrap(self, secret: bytes, subject: str) -> bytes:
        """32 bytes of a person's key, wrapped. ``subject`` may serve as the encryption context."""
        ...

    async def unwrap(self, wrapped: bytes, subject: str) -> bytes:
        """What was wrapped for this subject."""
        ...


class NoWrapper:
    """Keys stand in the vault as they are: whoever can read its file has them."""

    name = ""
    stepped = True

    async def wrap(self, secret: bytes, subject: str) -> bytes:
        return secret

    async def unwrap(self, wrapped: bytes, subject: str) -> bytes:
        return wrapped


class MasterKey:
    """Wraps keys under one key of yours, kept away from the vault: in a secret of the deployment, for instance.

    ``headwater.MasterKey.from_environment("LOANS_MASTER_KEY")``. Arguments:
        secret: 32 random bytes. ``openssl rand -base64 32`` makes such, in base64.
        name: of this key, so that a vault made with another one is noticed.
    """

    stepped = True

    def __init__(self, secret: bytes, *, name: str = "master") -> None:
        if len(secret) != SECRET_BYTES:
            raise HeadwaterError(
                f"a master key has {SECRET_BYTES} bytes, and this one has {len(secret)}. "
                "Make one: openssl rand -base64 32."
            )
        self._secret = secret
        self.name = name

    @classmethod
    def from_environment(cls, variable: str) -> MasterKey:
        """The key that stands in an environment variable, in base64."""
        text = os.environ.get(variable)
        if not text:
            raise HeadwaterError(
                f"the environment variable {variable} is not set. Put a key there: openssl rand -base64 32."
            )
        try:
            return cls(base64.b64decode(text, validate=True))
        except binascii.Error:
            raise HeadwaterError(
                f"the environment variable {variable} holds no base64. Put a key there: openssl rand -base64 32."
            ) from None

    async def wrap(self, secret: bytes, subject: str) -> bytes:
        """See ``KeyWrapper``."""
        return seal(self._secret, secret, subject.encode())

    async def unwrap(self, wrapped: bytes, subject: str) -> bytes:
        """See ``KeyWrapper``."""
        try:
            return unseal(self._secret, wrapped, subject.encode())
        except NotOurs:
            raise StoreUnavailable(
                f"the master key {self.name} does not open the vault's keys",
                "Give the key that the vault was made with.",
                transient=False,
            ) from None
