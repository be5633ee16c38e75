"""The promises, kept in PostgreSQL."""

from __future__ import annotations

import pytest

from headwater.testing.conformance import Conformance


class TestPostgres(Conformance):
    @pytest.fixture
    def store_url(self, postgres_schema_url: str) -> str:
        return postgres_schema_url
