"""The promises, kept in a Marten application's tables: by the defaults of Marten 9, and by what others may have."""

from __future__ import annotations

import pytest

from headwater.testing.conformance import Conformance
from headwater.testing.conformance.append import AppendPromises
from headwater.testing.conformance.concurrency import ConcurrencyPromises
from headwater.testing.conformance.conditions import ConditionPromises
from headwater.testing.conformance.histories import RandomHistories
from headwater.testing.conformance.hostile import HostileInput
from headwater.testing.conformance.idempotency import IdempotencyPromises
from headwater.testing.conformance.lifecycle import LifecyclePromises
from headwater.testing.conformance.order import OrderPromises
from headwater.testing.conformance.queries import QueryPromises
from headwater.testing.conformance.read import ReadPromises
from headwater.testing.conformance.streams import StreamListing
from headwater.testing.consuming import RollBack
from tests.services.marten import MakeSchema
from tests.services.postgres import rolling_back


class TestMarten(Conformance):
    home = "Marten"

    @pytest.fixture
    def store_url(self, marten_schema: MakeSchema) -> str:
        return marten_schema(identity="string").url()

    @pytest.fixture
    def roll_back(self, marten_database: str) -> RollBack:
        return rolling_back(marten_database)


class TestOneTenantOfMany(
    AppendPromises,
    IdempotencyPromises,
    ReadPromises,
    StreamListing,
    QueryPromises,
    ConditionPromises,
    OrderPromises,
    LifecyclePromises,
    HostileInput,
    ConcurrencyPromises,
    RandomHistories,
):
    """All columns that an application may have, and camel case."""

    @pytest.fixture
    def store_url(self, marten_schema: MakeSchema) -> str:
        application = marten_schema(
            identity="string",
            conjoined=True,
            metadata=("causation", "correlation", "headers", "user_name"),
            unique_ids=True,
            by_type=True,
        )
        return application.url(tenant="north", json="camel", naming="alias")
