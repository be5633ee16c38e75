"""A store behind a port, for programs in other processes and languages. Needs the extra ``server``."""

from __future__ import annotations

from headwater.server.kurrentdb.serving import KurrentServer
from headwater.server.settings import SERVER_LIMITS, Settings

__all__ = ["SERVER_LIMITS", "KurrentServer", "Settings"]
