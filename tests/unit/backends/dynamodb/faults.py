"""A client of DynamoDB that things happen to: too much at a time, overlapping transactions, answers that are lost."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

from botocore import exceptions

import headwater as hw
from headwater.backends.dynamodb import DynamoDBBackend
from headwater.backends.dynamodb.service import Service

__all__ = ["FaultyClient", "service_of"]

Fault = Callable[[str, dict[str, Any]], str | None]
"""Of an operation and its request: what happens to it, if anything."""


def service_of(store: hw.EventStore) -> Service:
    """The connection of a store."""
    backend = store._backend
    assert isinstance(backend, DynamoDBBackend)
    return backend.service


class FaultyClient:
    """Passes calls on, but for those that a fault is chosen for.

    ``throttled``, ``overlapped``, ``failed``: the service refuses, nothing is done. ``unsent``: no connection.
    ``lost``: it is done, and no answer comes.
    """

    def __init__(self, client: Any, fault: Fault) -> None:
        self._client = client
        self._fault = fault
        self.faults: list[str] = []

    @classmethod
    def into(cls, store: hw.EventStore, fault: Fault) -> FaultyClient:
        """Have the store call through one."""
        service = service_of(store)
        service.client = cls(service.client, fault)
        return service.client

    @classmethod
    def at_random(cls, store: hw.EventStore, choose: random.Random, share: float) -> FaultyClient:
        """Have so many of the store's calls fail, in every way in turn."""
        kinds = itertools.cycle(["lost", "throttled", "overlapped", "failed", "unsent"])

        def fault(operation: str, _: dict[str, Any]) -> str | None:
            if choose.random() >= share:
                return None
            kind = next(kinds)
            return kind if kind != "overlapped" or operation == "transact_write_items" else next(kinds)

        return cls.into(store, fault)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name == "meta" or name.startswith("_"):
            return method

        async def call(**request: Any) -> Any:
            fault = self._fault(name, request)
            if fault is not None:
                self.faults.append(fault)
            match fault:
                case "throttled":
                    raise _refusal(name, "ProvisionedThroughputExceededException", 400)
                case "failed":
                    raise _refusal(name, "InternalServerError", 500)
                case "unsent":
                    raise exceptions.EndpointConnectionError(endpoint_url="http://dynamodb")
                case "overlapped":
                    reasons = [{"Code": "None"} for _ in request["TransactItems"]]
                    reasons[0]["Code"] = "TransactionConflict"
                    raise _refusal(name, "TransactionCanceledException", 400, CancellationReasons=reasons)
                case "lost":
                    await method(**request)
                    raise exceptions.ReadTimeoutError(endpoint_url="http://dynamodb")
            return await method(**request)

        return call


def _refusal(operation: str, code: str, status: int, **more: Any) -> exceptions.ClientError:
    answer = {"Error": {"Code": code, "Message": "injected"}, "ResponseMetadata": {"HTTPStatusCode": status}, **more}
    return exceptions.ClientError(answer, operation)
