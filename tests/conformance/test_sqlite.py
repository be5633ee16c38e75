"""The promises, kept in a SQLite file."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.testing.conformance import Conformance


class TestSQLite(Conformance):
    home = "SQLite"

    @pytest.fixture
    def store_url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/loans.db"
