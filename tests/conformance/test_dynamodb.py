"""The promises, kept in DynamoDB."""

from __future__ import annotations

import pytest

from headwater.testing.conformance import Conformance


class TestDynamoDB(Conformance):
    home = "DynamoDB"
    histories = 10

    @pytest.fixture
    def store_url(self, dynamodb_url: str) -> str:
        return dynamodb_url
