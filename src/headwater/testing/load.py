"""A writer process to be killed: ``python -m headwater.testing.load URL --name NAME``.

Several tasks append loans, to streams of their own with exact expected versions, to one that all share, and to two at
once, until the process is killed or has done enough. Each line on standard output is a JSON object: an append that is
about to be sent (``"done": false``), or was acknowledged (``"done": true``), with its streams and event ids.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import uuid
from collections.abc import Sequence

import msgspec

import headwater
from headwater.events import NewEvent
from headwater.queries import ANY, ExpectedVersion
from headwater.store import Append, EventStore
from headwater.testing.loans import CASE, loan

__all__ = ["Line", "main"]


class Line(msgspec.Struct, frozen=True):
    """What the process says of one append."""

    done: bool
    parts: list[tuple[str, list[str]]]
    """Stream and event ids, of each stream of the append."""


def _say(done: bool, appends: Sequence[Append]) -> None:
    parts = [(str(each.stream), [str(event.id) for event in each.events]) for each in appends]
    sys.stdout.write(msgspec.json.encode(Line(done, parts)).decode() + "\n")
    sys.stdout.flush()


def _marked(events: list[NewEvent], append: str, of: int) -> list[NewEvent]:
    """The events, each knowing its append and how many events that has: a half append can be told from a whole one."""
    for event in events:
        event.metadata = {"append": append, "of": of}
    return events


async def _write(store: EventStore, own: str, appends_max: int) -> None:
    version = 0
    for number in range(appends_max):
        mine, append = random.randint(1, 5), str(uuid.uuid4())
        shared = random.randint(1, 3) if number % 3 == 2 else 0
        expected: ExpectedVersion = version if number % 2 else ANY
        appends = [Append(own, _marked(loan(mine, skip=version), append, mine + shared), expected)]
        if shared:
            appends.append(Append(CASE, _marked(loan(shared), append, mine + shared)))
        _say(False, appends)
        version = (await store.append_all(appends))[0].version
        _say(True, appends)


async def _load(url: str, name: str, writers: int, appends_max: int) -> None:
    async with headwater.connect(url) as store:
        await asyncio.gather(*(_write(store, f"loan-{name}-{number}", appends_max) for number in range(writers)))


def main() -> None:
    """Read the command line, and load the store."""
    parser = argparse.ArgumentParser(prog="python -m headwater.testing.load", description=__doc__)
    parser.add_argument("url", help="the store")
    parser.add_argument("--name", required=True, help="part of the names of this process's own streams")
    parser.add_argument("--writers", type=int, default=4, help="tasks that append at a time")
    parser.add_argument("--appends", type=int, default=1_000_000, help="appends of each task")
    given = parser.parse_args()
    asyncio.run(_load(given.url, given.name, given.writers, given.appends))


if __name__ == "__main__":
    main()
