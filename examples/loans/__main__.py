"""Two hundred real applications, decided anew: ``python -m examples.loans [number of applications]``.

The store and its read model stay in ``demo/``. Run it again: every command has an id, so nothing is done twice.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import msgspec

import headwater as hw
from examples.loans.desk import Desk
from examples.loans.history import cases
from examples.loans.overview import Overview
from examples.loans.payouts import payouts
from examples.loans.rules import Refused


class Replayed(msgspec.Struct):
    """What became of the log's commands."""

    executed: int = 0
    """They led to events."""
    before: int = 0
    """Executed by an earlier run."""
    refused: Counter[str] = msgspec.field(default_factory=Counter)


async def replay(desk: Desk, applications: int) -> Replayed:
    """Send the commands of the log's first applications to the desk."""
    done = Replayed()
    for case in itertools.islice(cases(), applications):
        with hw.trace(correlation_id=case.stream):
            for number, command in enumerate(case.commands, start=1):
                try:
                    executed = await desk.execute(case.stream, command, id=f"{case.stream}/{number}")
                except Refused as refused:
                    done.refused[f"{type(command).__name__}: {refused}"] += 1
                else:
                    done.executed += bool(executed.events) and not executed.duplicate
                    done.before += executed.duplicate
    return done


async def pay(loan: str, amount: int, key: str) -> str:
    """In place of the bank's payment service, which knows a key that it has seen."""
    return f"payment-{key[:8]}"


async def main(folder: Path, applications: int) -> Replayed:
    """Replay, while the read model and the payouts follow; then show where the applications are."""
    folder.mkdir(parents=True, exist_ok=True)
    async with (
        hw.connect(f"sqlite:///{folder}/loans.db") as store,
        hw.Projector(store, Overview(), into=f"sqlite:///{folder}/overview.db") as overview,
        overview.running(),
        payouts(store, pay) as paying,
    ):
        done = await replay(Desk(store), applications)
        await paying.wait_for(await store.head())
        await overview.wait_for(await store.head(), timeout=60)
        show(done, folder, await store.head())
    return done


def show(done: Replayed, folder: Path, head: int) -> None:
    """What was done, what was refused, and what the read model says."""
    print(f"{done.executed:,} commands executed, {done.before:,} had been before; {head:,} events in {folder}/loans.db")
    for reason, times in done.refused.most_common():
        print(f"  refused {times:3} x {reason}")
    print(f"\n{'stage':14}{'loans':>8}{'euros':>14}   from {folder}/overview.db")
    with closing(sqlite3.connect(folder / "overview.db")) as readers:
        for row in readers.execute("select stage, count(*), sum(amount) from applications group by 1 order by 2 desc"):
            print("{:14}{:8,}{:14,}".format(*row))


if __name__ == "__main__":
    asyncio.run(main(Path("demo/example"), int(sys.argv[1]) if len(sys.argv) > 1 else 200))
