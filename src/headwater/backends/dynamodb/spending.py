"""What calls cost: DynamoDB's own count of capacity units, for those who ask for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec

__all__ = ["Spent", "note", "spending", "wanted"]


class Spent(msgspec.Struct):
    """The capacity units of some calls, as DynamoDB counted them."""

    requests: int = 0
    read_units: float = 0.0
    write_units: float = 0.0
    by_operation: dict[str, int] = {}
    """Requests of each operation."""


_present: ContextVar[Spent | None] = ContextVar("headwater_dynamodb_spending", default=None)

_WRITES = {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"}


@contextmanager
def spending() -> Iterator[Spent]:
    """Count what the calls inside the block cost, in both faces of the store::

        with spending() as spent:
            await store.append("loan-173688", events)
        print(spent.write_units)

    Work that other tasks do for everybody at the same time (a round of the sequencer, the index) counts where it was
    begun. Answers that say nothing of units, as of refused calls, count as requests only.
    """
    spent = Spent()
    token = _present.set(spent)
    try:
        yield spent
    finally:
        _present.reset(token)


def wanted() -> bool:
    """Whether somebody counts here."""
    return _present.get() is not None


def note(operation: str, answer: Mapping[str, Any]) -> None:
    """A call was answered."""
    spent = _present.get()
    if spent is None:
        return
    spent.requests += 1
    spent.by_operation[operation] = spent.by_operation.get(operation, 0) + 1
    consumed = answer.get("ConsumedCapacity") or ()
    for each in [consumed] if isinstance(consumed, Mapping) else consumed:
        units = float(each.get("CapacityUnits", 0.0))
        if "WriteCapacityUnits" in each or "ReadCapacityUnits" in each:
            spent.write_units += float(each.get("WriteCapacityUnits", 0.0))
            spent.read_units += float(each.get("ReadCapacityUnits", 0.0))
        elif operation in _WRITES:
            spent.write_units += units
        else:
            spent.read_units += units
