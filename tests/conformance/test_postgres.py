"""The promises, kept in PostgreSQL: all by the default, and by the other layouts those that they touch."""

from __future__ import annotations

import pytest

from headwater.testing.conformance import Conformance
from headwater.testing.conformance.append import AppendPromises
from headwater.testing.conformance.concurrency import ConcurrencyPromises
from headwater.testing.conformance.conditions import ConditionPromises
from headwater.testing.conformance.histories import RandomHistories
from headwater.testing.conformance.idempotency import IdempotencyPromises
from headwater.testing.conformance.order import OrderPromises
from headwater.testing.conformance.queries import QueryPromises
from headwater.testing.conformance.read import ReadPromises
from headwater.testing.consuming import RollBack


class TestPostgres(Conformance):
    home = "PostgreSQL"

    @pytest.fixture
    def store_url(self, postgres_schema_url: str) -> str:
        return postgres_schema_url

    @pytest.fixture
    def roll_back(self, postgres_roll_back: RollBack) -> RollBack:
        return postgres_roll_back


class TestPartitioned(AppendPromises, IdempotencyPromises, ReadPromises, QueryPromises, OrderPromises, RandomHistories):
    @pytest.fixture
    def store_url(self, postgres_schema_url: str) -> str:
        return f"{postgres_schema_url}&partition=1000"


class TestSerialized(AppendPromises, ConditionPromises, ConcurrencyPromises, OrderPromises):
    @pytest.fixture
    def store_url(self, postgres_schema_url: str) -> str:
        return f"{postgres_schema_url}&ordering=serialized"
