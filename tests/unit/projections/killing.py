"""A program that runs a projection in a child process and kills it, hundreds of times, at random points.

``python -m tests.unit.projections.killing STORE INTO HOW KILLS`` prints how often it killed, and how often in the
middle of the work. Children are forked, so that starting one costs milliseconds.
"""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import sys
import time

import headwater as hw
from tests.unit.projections.conftest import Effects

LEASE = 0.1


class Slow(Effects):
    """Tells when it begins, and gives the killer time between its statements."""

    said = -1

    def happened(self, event: hw.Event, view: hw.View) -> None:
        if self.said >= 0:
            os.write(self.said, b".")
            Slow.said = -1
        super().happened(event, view)
        time.sleep(0.0005)


async def run(url: str, into: str, how: str) -> None:
    async with hw.connect(url) as store, hw.Projector(store, Slow(), into=into) as projector:
        if how == "build":
            await projector.catch_up(batch=3)
        else:
            async with projector.running(batch=3, lease=LEASE):
                await projector.wait_for(await store.head(), timeout=600)


def child(url: str, into: str, how: str, said: int) -> None:
    Slow.said = said
    code = 1
    try:
        asyncio.run(run(url, into, how))
        code = 0
    finally:
        os._exit(code)


def main(url: str, into: str, how: str, kills: int) -> None:
    killed = at_work = 0
    while True:
        heard, said = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(heard)
            child(url, into, how, said)
        os.close(said)
        if killed < kills:
            if random.random() < 0.1:
                time.sleep(random.uniform(0, 0.05))  # somewhere in its start
            else:
                select.select([heard], [], [], 60)  # until it handles its first event, or ends
                at_work += 1
                time.sleep(random.uniform(0, 0.01))
            os.kill(process, signal.SIGKILL)
            killed += 1
        _, status = os.waitpid(process, 0)
        os.close(heard)
        if os.WIFEXITED(status):
            if os.WEXITSTATUS(status):
                sys.exit("the runner failed")
            break
    print(killed, at_work)


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
