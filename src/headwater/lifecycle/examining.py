"""The health of a store: of the technology below it, and of those who follow it."""

from __future__ import annotations

from headwater.backend import Examined
from headwater.store import EventStore

__all__ = ["examined"]


async def examined(store: EventStore) -> list[Examined]:
    """What was looked at, in order: the technology first. Reads little, changes nothing."""
    return [*await store.examine(), *await _consumers(store), *await _scheduled(store)]


async def _consumers(store: EventStore) -> list[Examined]:
    if not store.capabilities.records:
        return []
    found = []
    for each in await store.consumers.all():
        name = f"consumer {each.name}"
        if each.parked:
            remedy = f"Look at them: headwater parked list URL {each.name}."
            found.append(Examined(name, "note", f"{each.parked:,} events are parked", remedy))
        if each.behind and not each.members and not each.paused:
            remedy = "Start a process that runs it, or drop it: headwater consumers drop."
            found.append(Examined(name, "note", f"{each.behind:,} positions behind, and nobody runs it", remedy))
        elif each.error and each.behind:
            found.append(Examined(name, "note", f"{each.behind:,} positions behind; its last error: {each.error}"))
    return found or [Examined("consumers", "well", "none waits for anybody")]


async def _scheduled(store: EventStore) -> list[Examined]:
    if not store.capabilities.records:
        return []
    refused = [each async for each in store.scheduled.all() if each.error]
    if not refused:
        return []
    remedy = "Look at them: headwater scheduled list URL."
    return [Examined("scheduled", "note", f"{len(refused):,} appends were refused when they were due", remedy)]
