"""``headwater why``: what led to an event, and what followed from it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli.arguments import AsJson, Store
from headwater.cli.showing import event_line, json_line

if TYPE_CHECKING:
    from headwater.events import Event
    from headwater.lifecycle.causation import Caused
    from headwater.store import EventStore

__all__ = ["why"]


async def why(
    url: Store,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="Its id, or its position.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Show what led to an event and what followed from it, by the causation ids in the events' metadata.

    What followed is found by reading the log from there on.

    Example: `headwater why sqlite:///loans.db 4711`
    """
    from headwater.errors import InvalidQuery
    from headwater.lifecycle import open_existing
    from headwater.lifecycle.causation import causes, effects

    async with open_existing(url) as store:
        found = await _found(store, event)
        if found is None:
            raise InvalidQuery(f"there is no event {event}", "Give an event's id, or its position in the log.")
        chain, command = await causes(store, found)
        tree = await effects(store, found)
    if as_json:
        print(json_line({"command": command, "causes": [_facts(each) for each in chain], **_tree(tree)}))
        return
    if command:
        print(f"command {command}")
    depth = 1 if command else 0
    for each in chain:
        print("  " * depth + event_line(each))
        depth += 1
    _show(tree, depth, this=True)


async def _found(store: EventStore, text: str) -> Event | None:
    if text.isdecimal():
        position = int(text)
        async for event in store.read_all(after=position - 1, limit=1):
            return event if event.position == position else None
        return None
    try:
        return await store.event(uuid.UUID(text))
    except ValueError:
        return None


def _show(node: Caused, depth: int, *, this: bool = False) -> None:
    print("  " * depth + event_line(node.event) + ("   <- this" if this else ""))
    for each in node.effects:
        _show(each, depth + 1)


def _tree(node: Caused) -> dict[str, Any]:
    return _facts(node.event) | {"effects": [_tree(each) for each in node.effects]}


def _facts(event: Event) -> dict[str, Any]:
    return {
        "position": event.position,
        "stream": event.stream,
        "version": event.version,
        "id": str(event.id),
        "type": event.type,
        "recorded_at": event.recorded_at,
        "metadata": event.metadata,
    }
