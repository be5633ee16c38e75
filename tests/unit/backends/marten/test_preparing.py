"""Appends that have to look something up, and those that come behind them."""

from __future__ import annotations

import asyncio

from tests.services.marten_dotnet import DotNet
from tests.services.marten_events import requested
from tests.unit.backends.marten.conftest import Connecting, Rows

import headwater as hw
from headwater.testing.conformance.fixtures import history

LOAN = "loan-173688"


async def test_nobody_overtakes_who_looks_something_up(connecting: Connecting) -> None:
    """Appends of types that are not known yet and of one that is: they are stored in the order in which they came."""
    async with connecting(dotnet="NoteTaken:Bank.NoteTaken") as store:
        kinds = ["LoanRequested", "NoteTaken", "LoanApproved", "NoteTaken", "NoteTaken", "LoanDisbursed", "NoteTaken"]
        await asyncio.gather(*(store.append(LOAN, hw.NewEvent(kind, {})) for kind in kinds))
        assert [event.type for event in await history(store, LOAN)] == kinds


async def test_a_class_is_looked_for_once(dotnet: DotNet, connecting: Connecting, rows: Rows) -> None:
    await dotnet.quick_append(LOAN, [requested()])
    async with connecting() as store:
        await asyncio.gather(
            *(store.append(f"loan-{number}", hw.NewEvent("LoanRequested", {})) for number in range(20))
        )
    assert await rows("SELECT DISTINCT mt_dotnet_type FROM {}.mt_events") == [("Bank.Loans.LoanRequested, Bank.Loans",)]
