"""A store of both kinds for code without asyncio: stepped in the caller's thread, and run on the background loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater import sync


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that is still to be made."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/loans.db"
    found: str = request.getfixturevalue("postgres_schema_url")
    return found


@pytest.fixture
def store(url: str) -> Iterator[sync.EventStore]:
    with sync.connect(url) as opened:
        yield opened
