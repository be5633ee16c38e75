"""The promises, kept in KurrentDB: over our own server, which keeps its events in a file or in PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.testing.conformance import Conformance
from headwater.testing.conformance.append import AppendPromises
from headwater.testing.conformance.concurrency import ConcurrencyPromises
from headwater.testing.conformance.conditions import ConditionPromises
from headwater.testing.conformance.expected import ExpectedVersionPromises
from headwater.testing.conformance.histories import RandomHistories
from headwater.testing.conformance.idempotency import IdempotencyPromises
from headwater.testing.conformance.lifecycle import LifecyclePromises
from headwater.testing.conformance.order import OrderPromises
from headwater.testing.conformance.queries import QueryPromises
from headwater.testing.conformance.read import ReadPromises
from headwater.testing.conformance.records import RecordPromises
from headwater.testing.conformance.streams import StreamListing
from headwater.testing.conformance.subscriptions import SubscriptionPromises
from tests.services.kurrentdb import Serve


class TestKurrentDB(Conformance):
    home = "KurrentDB"
    histories = 10

    @pytest.fixture
    def store_url(self, tmp_path: Path, serve: Serve) -> str:
        return serve(f"sqlite:///{tmp_path}/server.db")


class TestKurrentDBOverPostgres(
    AppendPromises,
    ExpectedVersionPromises,
    IdempotencyPromises,
    ReadPromises,
    StreamListing,
    QueryPromises,
    ConditionPromises,
    OrderPromises,
    LifecyclePromises,
    RecordPromises,
    SubscriptionPromises,
    ConcurrencyPromises,
    RandomHistories,
):
    """What depends on the server's store."""

    histories = 5

    @pytest.fixture
    def store_url(self, postgres_schema_url: str, serve: Serve) -> str:
        return serve(postgres_schema_url)
