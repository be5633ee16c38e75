"""Projections: how many events a second become rows, beside the runner of the ``eventsourcing`` package.

The work is the same: one row for each loan application, which counts its steps and keeps the last one. That package's
runner commits after each event; ours takes a batch into one transaction, and here also one event, for comparison. Its
SQLite recorder can't be subscribed to, so there its events come from memory, which is an advantage for it; our SQLite
target does not wait for the disk at each commit (rows and position are in one file, so what a power cut takes of both
is done again), which is one for us.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path

import headwater as hw
from measuring import Comparison, alternate, loan_event, show, workspace
from peer_projections import peer_rate
from peers import eventsourcing_postgres
from servers import fresh_store, postgres

STREAMS, STEPS = 2_000, 20
EVENTS = STREAMS * STEPS
PEER_STREAMS = 200  # its rate does not depend on how many there are
_places = itertools.count()


class Steps(hw.Projection):
    """The steps of each loan application."""

    name = "steps"
    tables = "create table {steps} (loan text primary key, steps bigint not null, last_step text not null)"

    @hw.handles()
    def stepped(self, event: hw.Event, view: hw.View) -> None:
        view.execute(
            "insert into {steps} values (:loan, 1, :step) on conflict (loan) do update "
            "set steps = {steps}.steps + 1, last_step = excluded.last_step",
            {"loan": event.stream, "step": event.data["activity"]},
        )


async def fill(url: str) -> None:
    """The log to project."""
    async with hw.connect(url) as store:
        for number in range(STREAMS):
            await store.append(f"loan-{number}", [loan_event() for _ in range(STEPS)])


def headwater(url: str, into: str, *, batch: int, upto: int) -> float:
    """Events a second by our runner, into tables of its own."""

    async def main() -> float:
        async with hw.connect(url) as store, hw.Projector(store, Steps(), into=into) as projector:
            await projector.prepare()
            start = time.perf_counter()
            async with projector.running(batch=batch):
                await projector.wait_for(upto, timeout=600)
            return upto / (time.perf_counter() - start)

    return asyncio.run(main())


def main() -> None:
    with workspace() as name, postgres(Path(name).absolute()) as server, fresh_store(server) as on_postgres:
        folder = Path(name).absolute()
        on_sqlite = f"sqlite:///{folder}/log.db"
        asyncio.run(fill(on_sqlite))
        asyncio.run(fill(on_postgres))

        def file() -> str:
            return f"{folder}/view-{next(_places)}.db"

        def peer_on_sqlite() -> float:
            view = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": file()}
            return peer_rate(view, {}, PEER_STREAMS, STEPS)

        def peer_on_postgres() -> float:
            settings = eventsourcing_postgres(server)
            return peer_rate(settings, settings, PEER_STREAMS, STEPS)

        def ours_on_postgres(batch: int, upto: int) -> float:
            with fresh_store(server) as into:
                return headwater(on_postgres, into, batch=batch, upto=upto)

        def ours_on_sqlite(batch: int, upto: int) -> float:
            return headwater(on_sqlite, f"sqlite:///{file()}", batch=batch, upto=upto)

        comparisons = []
        for home, ours, peer in (
            ("SQLite", ours_on_sqlite, peer_on_sqlite),
            ("PostgreSQL", ours_on_postgres, peer_on_postgres),
        ):
            batched, single, theirs = alternate(
                3, lambda ours=ours: ours(1_000, EVENTS), lambda ours=ours: ours(1, 4_000), peer
            )
            comparisons += [
                Comparison(f"{home}, 1,000 events a transaction", batched, theirs, "eventsourcing", at_least=5),
                Comparison(f"{home}, 1 event a transaction", single, theirs, "eventsourcing"),
            ]
    show("Projections, events a second", comparisons)


if __name__ == "__main__":
    main()
