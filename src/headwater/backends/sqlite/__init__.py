"""The embedded default: a store in one SQLite file, with no server.

One writer thread per open store commits whatever appends wait as one transaction (group commit, WAL,
``synchronous=FULL``); readers have connections of their own; several processes may open one file.
"""

from __future__ import annotations

from headwater.backends.sqlite.backend import CAPABILITIES, SQLiteBackend, open
from headwater.backends.sqlite.schema import schema_sql

__all__ = ["CAPABILITIES", "SQLiteBackend", "open", "schema_sql"]
