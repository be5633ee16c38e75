"""``headwater info``: what a store is and holds."""

from __future__ import annotations

from typing import Any

from headwater.cli.arguments import AsJson, Store
from headwater.cli.showing import json_line, moment, table

__all__ = ["info", "overview"]


async def info(url: Store, as_json: AsJson = False) -> None:
    """Show what a store holds: how many events and streams, from when to when.

    Example: `headwater info sqlite:///demo/loans.db`
    """
    from headwater.lifecycle import open_existing

    async with open_existing(url) as store:
        facts = await overview(url, store)
    if as_json:
        print(json_line(facts))
        return
    rows = [(name.replace("_", " "), value) for name, value in facts.items() if name != "categories"]
    table(("", ""), [(name, moment(value) if name.endswith(" event") else value) for name, value in rows])
    if facts["categories"]:
        table(("category", "streams#"), facts["categories"].items())


async def overview(url: str, store: Any) -> dict[str, Any]:
    """The facts about a store, by name."""
    from headwater.connect import redacted

    categories = await store.categories()
    head = await store.head()
    first = [event.recorded_at async for event in store.read_all(limit=1)]
    last = [event.recorded_at async for event in store.read_all(limit=1, backwards=True)]
    return {
        "store": redacted(url),
        "backend": store.capabilities.backend,
        "identity": store.identity,
        "head": head,
        "events": head if store.capabilities.gapless_positions else None,
        "streams": sum(categories.values()),
        "first_event": first[0] if first else None,
        "last_event": last[0] if last else None,
        "categories": categories,
    }
