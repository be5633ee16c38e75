"""The promises, kept in Kafka, by one owner and its index."""

from __future__ import annotations

import pytest

from headwater.testing.conformance import Conformance


class TestKafka(Conformance):
    home = "Kafka"
    histories = 10

    @pytest.fixture
    def store_url(self, kafka_store_url: str) -> str:
        return f"{kafka_store_url}&takeover=yes"
