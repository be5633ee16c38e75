"""The templates make the table that Headwater itself would make."""

from __future__ import annotations

import asyncio
from typing import Any

import hcl2
import pytest

import headwater as hw
from headwater.backends.dynamodb import DynamoDBBackend, template
from headwater.backends.dynamodb.table import KEYS
from headwater.backends.dynamodb.url import parse


async def deployed(url: str, endpoint: str) -> dict[str, Any]:
    """Have CloudFormation make the table of the URL; its description."""
    from aiobotocore.session import AioSession

    table = parse(url).table
    session = AioSession()
    where = {"region_name": "eu-central-1", "endpoint_url": endpoint}
    async with session.create_client("cloudformation", **where) as tool:
        await tool.create_stack(
            StackName=table, TemplateBody=template("cloudformation", table), Capabilities=["CAPABILITY_IAM"]
        )
        async with asyncio.timeout(30):
            while (state := await _state(tool, table)) == "CREATE_IN_PROGRESS":
                await asyncio.sleep(0.05)
        assert state == "CREATE_COMPLETE"
    async with session.create_client("dynamodb", **where) as tool:
        described: dict[str, Any] = (await tool.describe_table(TableName=table))["Table"]
        return described


async def _state(tool: Any, stack: str) -> str:
    (described,) = (await tool.describe_stacks(StackName=stack))["Stacks"]
    state: str = described["StackStatus"]
    return state


async def test_a_table_that_cloudformation_has_made_is_a_store(dynamodb_url: str, dynamodb_endpoint: str) -> None:
    table = await deployed(dynamodb_url, dynamodb_endpoint)
    assert table["KeySchema"] == KEYS["KeySchema"]
    assert table["AttributeDefinitions"] == KEYS["AttributeDefinitions"]
    assert table["BillingModeSummary"]["BillingMode"] == KEYS["BillingMode"]
    async with hw.connect(dynamodb_url) as store:
        done = await store.append("loan-173688", hw.NewEvent("LoanRequested", {"amount": 20000}))
        assert (done.version, done.position) == (1, 1)
        backend = store._backend
        assert isinstance(backend, DynamoDBBackend)
        await backend.service.client.update_table(
            TableName=backend.service.target.table, DeletionProtectionEnabled=False
        )


def test_terraform_makes_the_same_table() -> None:
    made = hcl2.loads(template("terraform", "loans"))
    (table,) = [each for each in made["resource"] if "aws_dynamodb_table" in str(each)]
    (table,) = [inner for outer in table.values() for inner in outer.values()]
    plain = _unquoted(table)
    keys = [
        {"AttributeName": plain["hash_key"], "KeyType": "HASH"},
        {"AttributeName": plain["range_key"], "KeyType": "RANGE"},
    ]
    assert keys == KEYS["KeySchema"]
    attributes = [{"AttributeName": each["name"], "AttributeType": each["type"]} for each in plain["attribute"]]
    assert attributes == KEYS["AttributeDefinitions"]
    assert (plain["name"], plain["billing_mode"]) == ("loans", KEYS["BillingMode"])
    assert (plain["deletion_protection_enabled"], plain["point_in_time_recovery"][0]["enabled"]) == (True, True)


def _unquoted(value: Any) -> Any:
    """hcl2 keeps the quotes of texts, in some of its versions."""
    if isinstance(value, dict):
        return {key.strip('"'): _unquoted(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_unquoted(each) for each in value]
    return value.strip('"') if isinstance(value, str) else value


def test_both_templates_give_the_same_rights() -> None:
    rights = [
        {word.strip('",- ') for line in template(tool).splitlines() if "dynamodb:" in (word := line.strip())}
        for tool in ("cloudformation", "terraform")
    ]
    assert rights[0] == rights[1]
    assert "dynamodb:Query" in rights[0]


def test_a_name_that_no_table_can_have() -> None:
    with pytest.raises(hw.InvalidEvent, match="no table's name"):
        template("terraform", 'loans" }')
