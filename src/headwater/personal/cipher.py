"""AES-256 in Galois/counter mode (NIST SP 800-38D), by the cryptography package. The one place that names it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["SECRET_BYTES", "NotOurs", "joined", "new_secret", "seal", "unseal"]

SECRET_BYTES = 32
NONCE_BYTES = 12


class NotOurs(ValueError):
    """These bytes were not sealed by this key, or not for this place, or were changed."""


def new_secret() -> bytes:
    """A key that nobody has seen."""
    return AESGCM.generate_key(8 * SECRET_BYTES)


def seal(secret: bytes, plain: bytes, place: bytes) -> bytes:
    """Nonce, ciphertext and tag. ``place`` says where it belongs, and must be the same when it is unsealed."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(secret).encrypt(nonce, plain, place)


def unseal(secret: bytes, sealed: bytes, place: bytes) -> bytes:
    """The plain bytes. Raises ``NotOurs``."""
    try:
        return AESGCM(secret).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place)
    except (InvalidTag, ValueError):
        raise NotOurs from None


def joined(secrets: Mapping[str, bytes]) -> bytes:
    """One key made of several, by HKDF (RFC 5869): whoever lacks one of them can't make it. By name, in any order."""
    material = b"".join([secrets[name] for name in sorted(secrets)])
    return HKDF(SHA256(), SECRET_BYTES, salt=None, info=b"headwater joined keys 1").derive(material)
