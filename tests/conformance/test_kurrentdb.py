"""The promises, kept in KurrentDB: over our own server, which keeps its events in a file or in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.testing.conformance import Conformance
from headwater.testing.serving import ServerProcess


class TestKurrentDB(Conformance):
    home = "KurrentDB"
    histories = 10

    @pytest.fixture
    def store_url(self, tmp_path: Path) -> Iterator[str]:
        with ServerProcess(f"sqlite:///{tmp_path}/server.db") as server:
            yield server.url


class TestKurrentDBOverPostgres(Conformance):
    histories = 5

    @pytest.fixture
    def store_url(self, postgres_schema_url: str) -> Iterator[str]:
        with ServerProcess(postgres_schema_url) as server:
            yield server.url
