"""The suite over the store of ``--store-url``; see the package."""

from __future__ import annotations

import uuid

import pytest

from headwater.testing.conformance import Conformance


class TestGivenStore(Conformance):
    """Run by ``pytest --pyargs headwater.testing.conformance --store-url URL``."""

    @pytest.fixture
    def store_url(self, request: pytest.FixtureRequest) -> str:
        """The URL of the option, with ``{unique}`` replaced by a text of this test's own."""
        url = request.config.getoption("--store-url")
        if url is None:
            pytest.skip("no --store-url was given")
        if "{unique}" not in url and not url.endswith(":"):
            pytest.fail(f"each test needs a store of its own: put {{unique}} into --store-url {url}")
        return str(url).replace("{unique}", f"t{uuid.uuid4().hex[:16]}")
