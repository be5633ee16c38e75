"""A store whose gate is driven by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

import headwater
from tests.interleavings.steps import Log


@pytest.fixture
def log(postgres_url: str, postgres_schema_url: str) -> Iterator[Log]:
    """The log of a new store."""

    async def make() -> None:
        async with headwater.connect(postgres_schema_url):
            pass

    asyncio.run(make())
    log = Log(postgres_url, postgres_schema_url.rpartition("schema=")[2])
    yield log
    log.close()
