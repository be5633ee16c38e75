"""KurrentDB: events in its streams, appended on condition that nobody has come between; an index in a file answers.

``kurrentdb://host:2113?tls=false&index=file.db``; see ``url`` for what else the URL may say.
"""

from __future__ import annotations

from headwater.backends.kurrentdb.backend import KurrentDBBackend, open

__all__ = ["KurrentDBBackend", "open"]
