"""An owner in a process of its own, which something happens to at a chosen moment: ``python owning.py URL MOMENT``.

It appends the first event of a loan and says ``ready``. For each line on standard input, it appends the next event;
what comes of that is its next line. ``MOMENT`` says what happens to the process at its second append: ``killed before
commit`` and ``killed after commit`` (``kill -9``), ``stopped before commit`` (SIGSTOP), or ``nothing``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import headwater as hw
from headwater.backends.kafka import owner
from headwater.testing.loans import CASE, loan

original = owner.producer


class Struck:
    """A producer whose commits something happens to, once ``armed``."""

    armed = False

    def __init__(self, moment: str, place: Any, message_bytes: int) -> None:
        self._producer = original(place, message_bytes)
        self._moment = moment

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def commit_transaction(self, seconds: float) -> None:
        if Struck.armed and self._moment == "killed before commit":
            os.kill(os.getpid(), signal.SIGKILL)
        if Struck.armed and self._moment == "stopped before commit":
            os.kill(os.getpid(), signal.SIGSTOP)
        self._producer.commit_transaction(seconds)
        if Struck.armed and self._moment == "killed after commit":
            os.kill(os.getpid(), signal.SIGKILL)


async def main(url: str, moment: str) -> None:
    owner.producer = lambda place, message_bytes: Struck(moment, place, message_bytes)  # type: ignore[assignment, return-value]
    async with hw.connect(url) as store:
        first, *rest = loan()
        await store.append(CASE, first, expected=0)
        print("ready", flush=True)
        Struck.armed = True
        for event in rest:
            if not await asyncio.to_thread(sys.stdin.readline):
                return
            try:
                appended = await store.append(CASE, event)
            except hw.HeadwaterError as error:
                print(type(error).__name__, flush=True)
            else:
                print(appended.version, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
