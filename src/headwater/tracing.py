"""What led to an event: correlation and causation ids, which flow on by a context variable.

The names and their meaning are the field's: ``correlation_id`` is shared by everything that one request set off,
``causation_id`` is the id of the very command or event that an event follows from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["current_trace", "trace"]

_trace: ContextVar[Mapping[str, Any] | None] = ContextVar("headwater_trace", default=None)


@contextmanager
def trace(
    *, correlation_id: str | None = None, causation_id: str | None = None, **facts: Any
) -> Iterator[Mapping[str, Any]]:
    """Let every event that is appended meanwhile carry these in its metadata, where it does not say otherwise.

    ``with headwater.trace(correlation_id=request.id, user="anna"): await store.append(…)``. What an outer ``trace``
    said goes on holding. Tasks that are started inside inherit it; handlers of reactors have one from their event.

    Arguments:
        correlation_id: shared by everything that one request set off.
        causation_id: id of the command or event that the new events follow from.
        facts: anything else, JSON-able, such as who asked.
    """
    said = {"correlation_id": correlation_id, "causation_id": causation_id, **facts}
    inner = {**(_trace.get() or {}), **{name: value for name, value in said.items() if value is not None}}
    token = _trace.set(inner)
    try:
        yield inner
    finally:
        _trace.reset(token)


def current_trace() -> Mapping[str, Any]:
    """What holds now; empty outside of every ``trace``."""
    return _trace.get() or {}
