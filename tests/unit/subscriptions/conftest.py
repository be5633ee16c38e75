"""A store of each kind, for what must hold in all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import headwater as hw


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[hw.EventStore]:
    """An open store without events."""
    url = {"memory": lambda: "memory:", "sqlite": lambda: f"sqlite:///{tmp_path}/loans.db"}.get(request.param)
    async with hw.connect(url() if url else request.getfixturevalue("postgres_schema_url")) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgresql"])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that several processes can open."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/loans.db"
    url: str = request.getfixturevalue("postgres_schema_url")
    return url
