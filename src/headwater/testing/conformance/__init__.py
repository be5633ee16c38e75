"""The promises of an event store as tests, for any backend: Headwater's own, and yours.

A class of ten lines runs them all, through the asynchronous and the synchronous face::

    import pytest
    from headwater.testing.conformance import Conformance

    class TestMyBackend(Conformance):
        @pytest.fixture
        def store_url(self, tmp_path):
            return f"mybackend:///{tmp_path}/loans"        # a store that is new for each test

Or from the command line, with no file at all; ``{unique}`` becomes a text of its own for each test::

    pytest --pyargs headwater.testing.conformance --store-url 'mybackend://localhost/{unique}'

The URL's scheme is found as an entry point of the group ``headwater.backends``. A test is skipped only where the
backend's ``capabilities`` say that it does not make the promise. Needs ``pip install 'headwater[testing]'``.
"""

from __future__ import annotations

from headwater.testing.conformance.append import AppendPromises
from headwater.testing.conformance.concurrency import ConcurrencyPromises
from headwater.testing.conformance.conditions import ConditionPromises
from headwater.testing.conformance.consumers import ConsumerPromises
from headwater.testing.conformance.expected import ExpectedVersionPromises
from headwater.testing.conformance.failures import FailurePromises
from headwater.testing.conformance.groups import GroupPromises
from headwater.testing.conformance.histories import RandomHistories
from headwater.testing.conformance.hostile import HostileInput
from headwater.testing.conformance.idempotency import IdempotencyPromises
from headwater.testing.conformance.lifecycle import LifecyclePromises
from headwater.testing.conformance.memory import MemoryPromises
from headwater.testing.conformance.order import OrderPromises
from headwater.testing.conformance.personal import PersonalDataPromises
from headwater.testing.conformance.processes import ProcessPromises
from headwater.testing.conformance.queries import QueryPromises
from headwater.testing.conformance.read import ReadPromises
from headwater.testing.conformance.records import RecordPromises
from headwater.testing.conformance.refusals import Refusals
from headwater.testing.conformance.snapshots_checkpoints import SnapshotAndCheckpointPromises
from headwater.testing.conformance.streams import StreamListing
from headwater.testing.conformance.subscriptions import SubscriptionPromises

__all__ = ["Conformance"]


class Conformance(
    AppendPromises,
    ExpectedVersionPromises,
    IdempotencyPromises,
    ReadPromises,
    StreamListing,
    QueryPromises,
    ConditionPromises,
    OrderPromises,
    LifecyclePromises,
    SnapshotAndCheckpointPromises,
    RecordPromises,
    PersonalDataPromises,
    SubscriptionPromises,
    ConsumerPromises,
    FailurePromises,
    GroupPromises,
    HostileInput,
    Refusals,
    ConcurrencyPromises,
    MemoryPromises,
    ProcessPromises,
    RandomHistories,
):
    """All promises. Inherit from it, and give the fixture ``store_url``: the URL of a store that is new each time."""
