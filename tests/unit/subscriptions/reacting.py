"""A reactor in a process of its own, to be killed: ``python -m tests.unit.subscriptions.reacting URL``.

Its handler appends a letter for each event, and then writes the event's position to standard output: its effect on
the world. Checkpoints are so rare that only the inbox knows what was done.
"""

from __future__ import annotations

import asyncio
import os
import sys

import headwater as hw
from headwater.subscriptions import Reaction

LOANS = hw.Query([hw.QueryItem(categories=["loan"])])
RARELY = hw.Every(events=100_000, seconds=600)
LEASE = 0.4


async def send_letter(event: hw.Event, reaction: Reaction) -> None:
    await reaction.append(f"letters-{event.stream}", hw.NewEvent("LetterSent", {"about": event.type}))
    os.write(1, f"{event.position}\n".encode())


async def main(url: str) -> None:
    async with hw.connect(url) as store:
        await store.reactor("letters", send_letter, query=LOANS, checkpoint=RARELY, lease=LEASE).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
