"""Random histories: whatever is done to the store, it agrees with a model of fifty lines."""

from __future__ import annotations

import asyncio

from headwater import sync
from headwater.limits import Limits
from headwater.testing.conformance.fixtures import StorePromises
from headwater.testing.machine import check_against_model


class RandomHistories(StorePromises):
    """A Hypothesis state machine over the store."""

    histories = 60
    """How many random histories to try; each has 40 steps."""

    async def test_random_histories(self, store_url: str) -> None:
        """Appends, retries, conditions, deletions, policies and reads give what the model gives, in any order."""
        await asyncio.to_thread(self._try_histories, store_url)

    def _try_histories(self, store_url: str) -> None:
        with sync.connect(store_url, limits=Limits(page_events_max=3)) as store:
            check_against_model(store, examples=self.histories)
