"""Requests as plain values: their shape, and what DynamoDB says back. No server."""

from __future__ import annotations

import pytest

from headwater.backends.dynamodb.requests import NEW, Requests, marshalled, plain, reasons_of

LOANS = Requests("loans")


@pytest.mark.parametrize("value", ["", "loan-173688", 0, -7, 2**62, b"", b"\x00\xff", True, False])
def test_values_come_back(value: object) -> None:
    """A text, number, truth value or bytes comes back as it went, with its type."""
    came = plain({"a": marshalled(value)})["a"]
    assert (came, type(came)) == (value, type(value))


def test_reads_are_consistent() -> None:
    """No read may be of an older state."""
    key = ("S#loan-1", "H")
    assert LOANS.get(key)["ConsistentRead"] is True
    assert LOANS.batch_get([key])["RequestItems"]["loans"]["ConsistentRead"] is True
    assert LOANS.query("S#loan-1", "E#", "E$")["ConsistentRead"] is True


def test_put_where_nothing_is() -> None:
    """A condition asks for what was there, so that one request tells why it was refused."""
    request = LOANS.put({"p": "I#01", "k": "I", "g": None, "f": 1}, NEW)
    assert request == {
        "TableName": "loans",
        "Item": {"p": {"S": "I#01"}, "k": {"S": "I"}, "f": {"N": "1"}},
        "ConditionExpression": "attribute_not_exists(#p)",
        "ExpressionAttributeNames": {"#p": "p"},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def test_put_whatever_is_there() -> None:
    """Without a condition none is sent."""
    assert LOANS.put({"p": "C", "k": "#offers"}) == {
        "TableName": "loans",
        "Item": {"p": {"S": "C"}, "k": {"S": "#offers"}},
    }


def test_update_sets_removes_and_asks() -> None:
    """An update sets and removes attributes; names and values stand outside the texts."""
    request = LOANS.update(("S#loan-1", "H"), {"v": 8, "mc": None}, {"v": 7, "st": "open"})
    assert request["UpdateExpression"] == "SET #v = :0 REMOVE #mc"
    assert request["ConditionExpression"] == "#v = :1 AND #st = :2"
    assert request["ExpressionAttributeNames"] == {"#v": "v", "#mc": "mc", "#st": "st"}
    assert request["ExpressionAttributeValues"] == {":0": {"N": "8"}, ":1": {"N": "7"}, ":2": {"S": "open"}}


def test_query_of_a_partition() -> None:
    """From one sort key to another, in either direction, so many items at a time."""
    request = LOANS.query("L#0", "1", "9", limit=5, backwards=True)
    assert request["ExpressionAttributeValues"] == {":p": {"S": "L#0"}, ":low": {"S": "1"}, ":high": {"S": "9"}}
    assert (request["ScanIndexForward"], request["Limit"]) == (False, 5)


def test_reasons_in_the_order_of_the_actions() -> None:
    """A cancelled transaction's reasons are parsed from its list, never from its message."""
    answer = {
        "Error": {"Code": "TransactionCanceledException", "Message": "[None, TransactionConflict] is not read"},
        "CancellationReasons": [
            {"Code": "None"},
            {"Code": "ConditionalCheckFailed", "Item": {"v": {"N": "3"}}, "Message": "The conditional request failed"},
            {"Code": "TransactionConflict"},
        ],
    }
    reasons = reasons_of(answer)
    assert [reason.code for reason in reasons] == ["None", "ConditionalCheckFailed", "TransactionConflict"]
    assert [reason.item for reason in reasons] == [None, {"v": 3}, None]
