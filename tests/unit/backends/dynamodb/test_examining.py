"""The table below a store: what is well, and each thing that can be wrong with it."""

from __future__ import annotations

from typing import Any

import pytest

import headwater as hw
from headwater.backend import Examined
from headwater.backends.dynamodb import DynamoDBBackend, examining, settling


async def looked_at(url: str) -> dict[str, Examined]:
    async with hw.connect(url) as store:
        await store.append("loan-173688", hw.NewEvent("LoanRequested", {"amount": 20000}))
        return {each.subject: each for each in await store.examine()}


async def test_a_table_in_good_health(dynamodb_url: str) -> None:
    found = await looked_at(dynamodb_url)
    assert {subject: each.state for subject, each in found.items()} == {
        "table": "note",  # deletion protection is for whoever owns the account to turn on
        "capacity": "well",
        "regions": "well",
        "recovery": "well",
        "expiry": "well",
        "clock": "well",
        "outbox": "well",
    }
    assert all(each.remedy for each in found.values() if each.state != "well")


async def test_items_that_expire(dynamodb_url: str) -> None:
    async with hw.connect(dynamodb_url) as store:
        backend = store._backend
        assert isinstance(backend, DynamoDBBackend)
        await backend.service.client.update_time_to_live(
            TableName=backend.service.target.table,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": "t"},
        )
    expiry = (await looked_at(dynamodb_url))["expiry"]
    assert (expiry.state, "'t'" in expiry.finding) == ("wrong", True)


async def test_appends_that_nobody_gave_a_position(dynamodb_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "PAUSE_SECONDS", 60.0)
    monkeypatch.setattr(examining, "WAITING_SECONDS", -1.0)
    async with hw.connect(f"{dynamodb_url}&ordering=async") as store:
        await store.append("loan-173688", hw.NewEvent("LoanRequested", {"amount": 20000}))
        outbox = {each.subject: each for each in await store.examine()}["outbox"]
        assert (outbox.state, "1 appends wait" in outbox.finding) == ("note", True)
        assert [event.position async for event in store.read_all()] == [1]
        assert {each.subject: each for each in await store.examine()}["outbox"].state == "well"


@pytest.mark.parametrize(
    ("look", "answer", "state"),
    [
        (examining._capacity, {"ProvisionedThroughput": {"WriteCapacityUnits": 5}}, "note"),
        (examining._replicas, {"Replicas": [{"RegionName": "eu-west-1"}]}, "wrong"),
        (examining._table, {"DeletionProtectionEnabled": True}, "well"),
        (examining._table, {}, "note"),
        (examining._recovery, {}, "note"),
        (examining._recovery, None, "note"),
        (examining._expiry, None, "note"),
        (examining._clock, 3.0, "note"),
    ],
)
def test_what_a_service_may_say(look: Any, answer: Any, state: str) -> None:
    found: Examined = look(answer)
    assert (found.state, bool(found.remedy)) == (state, state != "well")
