"""Requests and answers of DynamoDB's API as plain values. Nothing here talks to anybody, so it is tested alone.

Source of the shapes: the Amazon DynamoDB API Reference, version 2012-08-10.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from headwater.backends.dynamodb.keys import Key

__all__ = [
    "ACTIONS_MAX",
    "BATCH_GET_MAX",
    "BATCH_WRITE_MAX",
    "NEW",
    "Item",
    "Reason",
    "Requests",
    "Where",
    "key_of",
    "marshalled",
    "plain",
    "reasons_of",
]

ACTIONS_MAX = 100
"""Actions in one transaction."""
BATCH_GET_MAX = 100
"""Keys in one ``BatchGetItem``."""
BATCH_WRITE_MAX = 25
"""Items in one ``BatchWriteItem``."""

Item = dict[str, Any]
"""An item with its attributes as texts, numbers, bytes and truth values."""
Where = Mapping[str, Any]
"""What must be so: an attribute equals a value, or (None) is not there."""

NEW: Where = {"p": None}
"""No item may be there yet."""


class Reason(msgspec.Struct, frozen=True):
    """Why one action of a transaction was not done; ``code`` is ``None`` (the text) where it was not to blame."""

    code: str
    item: Item | None = None
    """What was there instead, where the action asked for it."""


def marshalled(value: Any) -> dict[str, Any]:
    """A value with its type, as the API wants it."""
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, bytes):
        return {"B": value}
    return {"S": value}


def plain(item: Mapping[str, Mapping[str, Any]]) -> Item:
    """An item of an answer, without the types."""
    return {name: _plain(value) for name, value in item.items()}


def _plain(value: Mapping[str, Any]) -> Any:
    ((kind, inner),) = value.items()
    return int(inner) if kind == "N" else inner


def key_of(item: Item) -> Key:
    """The key of an item."""
    return item["p"], item["k"]


def _item(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: marshalled(value) for name, value in attributes.items() if value is not None}


def _key(key: Key) -> dict[str, Any]:
    return {"p": {"S": key[0]}, "k": {"S": key[1]}}


def reasons_of(answer: Mapping[str, Any]) -> list[Reason]:
    """The reasons in a cancelled transaction's answer, in the order of its actions."""
    return [
        Reason(each.get("Code", "None"), plain(each["Item"]) if each.get("Item") else None)
        for each in answer.get("CancellationReasons", ())
    ]


class _Expression:
    """Texts with names and values aside, so that no reserved word and no value ever stands in a text."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, Any] = {}

    def name(self, attribute: str) -> str:
        self.names[f"#{attribute}"] = attribute
        return f"#{attribute}"

    def value(self, value: Any) -> str:
        placeholder = f":{len(self.values)}"
        self.values[placeholder] = marshalled(value)
        return placeholder

    def condition(self, where: Where) -> str:
        return " AND ".join(
            f"attribute_not_exists({self.name(attribute)})"
            if value is None
            else f"{self.name(attribute)} = {self.value(value)}"
            for attribute, value in where.items()
        )

    def parameters(self) -> dict[str, Any]:
        found: dict[str, Any] = {"ExpressionAttributeNames": self.names} if self.names else {}
        return found | ({"ExpressionAttributeValues": self.values} if self.values else {})


class Requests:
    """Builds requests to one table. Reads are consistent."""

    def __init__(self, table: str) -> None:
        self._table = table

    def get(self, key: Key) -> dict[str, Any]:
        """``GetItem``."""
        return {"TableName": self._table, "Key": _key(key), "ConsistentRead": True}

    def batch_get(self, keys: Iterable[Key]) -> dict[str, Any]:
        """``BatchGetItem``, of at most ``BATCH_GET_MAX`` keys."""
        return {"RequestItems": {self._table: {"Keys": [_key(key) for key in keys], "ConsistentRead": True}}}

    def batch_put(self, items: Iterable[Item]) -> dict[str, Any]:
        """``BatchWriteItem`` that puts, whatever is there. At most ``BATCH_WRITE_MAX`` items."""
        return {"RequestItems": {self._table: [{"PutRequest": {"Item": _item(item)}} for item in items]}}

    def batch_delete(self, keys: Iterable[Key]) -> dict[str, Any]:
        """``BatchWriteItem`` that deletes. At most ``BATCH_WRITE_MAX`` keys."""
        return {"RequestItems": {self._table: [{"DeleteRequest": {"Key": _key(key)}} for key in keys]}}

    def query(
        self, partition: str, low: str, high: str, *, limit: int | None = None, backwards: bool = False
    ) -> dict[str, Any]:
        """``Query`` of a partition, from ``low`` to ``high``, both included."""
        request: dict[str, Any] = {
            "TableName": self._table,
            "ConsistentRead": True,
            "KeyConditionExpression": "p = :p AND k BETWEEN :low AND :high",
            "ExpressionAttributeValues": {":p": {"S": partition}, ":low": {"S": low}, ":high": {"S": high}},
            "ScanIndexForward": not backwards,
        }
        return request if limit is None else request | {"Limit": limit}

    def scan(self) -> dict[str, Any]:
        """``Scan`` of the whole table."""
        return {"TableName": self._table, "ConsistentRead": True}

    def put(self, item: Item, where: Where | None = None) -> dict[str, Any]:
        """``PutItem``, or the action of a transaction under ``Put``."""
        return {"TableName": self._table, "Item": _item(item)} | _conditioned(_Expression(), where)

    def update(self, key: Key, changes: Mapping[str, Any], where: Where | None = None) -> dict[str, Any]:
        """``UpdateItem``: sets attributes; those that are None are removed."""
        expression = _Expression()
        kept = [
            f"{expression.name(name)} = {expression.value(value)}"
            for name, value in changes.items()
            if value is not None
        ]
        gone = [expression.name(name) for name, value in changes.items() if value is None]
        clauses = [f"SET {', '.join(kept)}"] if kept else []
        clauses += [f"REMOVE {', '.join(gone)}"] if gone else []
        request = {"TableName": self._table, "Key": _key(key), "UpdateExpression": " ".join(clauses)}
        return request | _conditioned(expression, where)

    def delete(self, key: Key, where: Where | None = None) -> dict[str, Any]:
        """``DeleteItem``."""
        return {"TableName": self._table, "Key": _key(key)} | _conditioned(_Expression(), where)

    def transact(self, actions: Sequence[dict[str, Any]], token: str) -> dict[str, Any]:
        """``TransactWriteItems``. The token (at most 36 characters) makes a repetition within 10 minutes harmless."""
        return {"TransactItems": list(actions), "ClientRequestToken": token}


def _conditioned(expression: _Expression, where: Where | None) -> dict[str, Any]:
    if where is None:
        return expression.parameters()
    condition = expression.condition(where)
    return {
        "ConditionExpression": condition,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        **expression.parameters(),
    }
