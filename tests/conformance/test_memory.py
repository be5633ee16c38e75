"""The promises, kept in memory."""

from __future__ import annotations

import pytest

from headwater.testing.conformance import Conformance


class TestMemory(Conformance):
    home = "memory"

    @pytest.fixture
    def store_url(self) -> str:
        return "memory:"
