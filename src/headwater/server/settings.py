"""What a server is started with, checked before it listens."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

import msgspec

from headwater.errors import BadUrl
from headwater.limits import Limits

__all__ = ["SERVER_LIMITS", "Settings"]

SERVER_LIMITS = Limits(
    event_bytes_max=4 * 1_048_576,
    metadata_bytes_max=1_048_576,
    append_events_max=25_000,
    append_bytes_max=32 * 1_048_576,
    page_events_max=500,
    page_bytes_max=1_048_576,
)
"""The limits of a store behind a server: an append fits into a message, and a thousand readers hold a page each."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server listens, and to whom. Without a certificate it is insecure: on this machine only."""

    host: str = "127.0.0.1"
    port: int = 2113
    certificate: Path | None = None
    """The chain, as PEM."""
    key: Path | None = None
    users: Path | None = None
    """Lines of ``name:password`` or ``name:password:groups``. None: nobody is asked who he is or kept from anything."""
    insecure: bool = False
    """Listen without TLS where other machines can connect."""
    advertise: str | None = None
    """``host:port`` as clients reach it, which discovery tells them; where it listens, if None."""
    health_port: int | None = None
    """Answer ``/health/live`` there, over plain HTTP; None: nowhere. 0: any free port."""
    message_bytes_max: int = 40 * 1_048_576
    """The largest message that is read: an append of the largest size fits in."""

    def check(self) -> None:
        """``BadUrl`` where a server must not be started so."""
        where = f"{self.host}:{self.port}"
        if (self.certificate is None) != (self.key is None):
            raise BadUrl(where, "a certificate and its key belong together", "Give --tls-cert and --tls-key.")
        for file in (self.certificate, self.key):
            if file is not None and not file.is_file():
                raise BadUrl(str(file), "there is no such file", "Give a file in PEM form.")
        if self.certificate is None and not self.insecure and not _is_loopback(self.host):
            raise BadUrl(
                where,
                "without TLS, passwords and events would cross the network for all to read",
                "Give --tls-cert and --tls-key; or listen on 127.0.0.1; or say --insecure if the network is yours.",
            )
        if self.advertise is not None and not self.advertise.rpartition(":")[2].isdecimal():
            raise BadUrl(self.advertise, "the address to advertise has no port", "Write host:port.")

    def address(self, port: int) -> tuple[str, int]:
        """Where clients reach the server that listens on this port."""
        if self.advertise is not None:
            host, _, number = self.advertise.rpartition(":")
            return host, int(number)
        return (socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host), port


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
