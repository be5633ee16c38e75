"""How long each loan application took, and what had to be done again: a read model of the BPI Challenge 2012 log.

    headwater demo                                             # imports the log into demo/loans.db
    python examples/case_times.py sqlite:///demo/loans.db sqlite:///demo/times.db

Or by the command line, which takes a class from a file:

    headwater projections rebuild examples/case_times.py:CaseTimes sqlite:///demo/loans.db --into sqlite:///demo/times.db
"""

from __future__ import annotations

import asyncio
import sys

import headwater as hw


class CaseTimes(hw.Projection):
    """Throughput time, and rework: an activity that is completed again in the same case."""

    name = "case_times"
    tables = """
        create table {cases} (
            loan     text primary key,
            first_us bigint not null,  -- when its first and last events happened, in microseconds
            last_us  bigint not null,
            events   bigint not null,
            rework   bigint not null
        );
        create table {activities} (
            loan      text not null,
            activity  text not null,
            completed bigint not null,  -- times
            primary key (loan, activity)
        );
    """

    @hw.handles()
    def happened(self, event: hw.Event, view: hw.View) -> None:
        """Every event is a step of its case."""
        at = event.recorded_us if event.occurred_us is None else event.occurred_us
        view.execute(
            "insert into {cases} (loan, first_us, last_us, events, rework) values (:loan, :at, :at, 1, 0) "
            "on conflict (loan) do update set last_us = excluded.last_us, events = {cases}.events + 1",
            {"loan": event.stream, "at": at},
        )
        if event.data.get("lifecycle:transition") == "COMPLETE":
            self.completed(event, view)

    def completed(self, event: hw.Event, view: hw.View) -> None:
        """The activity was completed: for the first time, or again."""
        activity = {"loan": event.stream, "activity": event.type}
        view.execute(
            "update {cases} set rework = rework + 1 where loan = :loan "
            "and exists (select 1 from {activities} where loan = :loan and activity = :activity)",
            activity,
        )
        view.execute(
            "insert into {activities} (loan, activity, completed) values (:loan, :activity, 1) "
            "on conflict (loan, activity) do update set completed = {activities}.completed + 1",
            activity,
        )


class CaseTimesWithHours(CaseTimes):
    """Version 2: a column more, the throughput time in hours."""

    version = 2
    tables = CaseTimes.tables.replace("rework   bigint not null", "rework bigint not null, hours double precision")

    def happened(self, event: hw.Event, view: hw.View) -> None:
        """As before, and the hours."""
        super().happened(event, view)
        view.execute(
            "update {cases} set hours = (last_us - first_us) / 3600000000.0 where loan = :loan", {"loan": event.stream}
        )


async def main(url: str, into: str) -> None:
    """Build version 1, then version 2 beside it, compare them, and switch."""
    async with (
        hw.connect(url) as store,
        hw.Projector(store, CaseTimes(), into=into) as first,
        hw.Projector(store, CaseTimesWithHours(), into=into) as second,
        first.running(),  # a service would await first.run()
    ):
        await first.wait_for(await store.head(), timeout=600)
        print(f"version 1 is at position {await first.position():,}")
        await second.rebuild(on_progress=show)
        comparison = await second.compare()
        print("the same rows in both:", comparison.same)
        await second.switch()
        print("version 2 serves, position", f"{await second.position():,}")


def show(building: hw.Building) -> None:
    """One line of progress, now and then."""
    if building.events % 50_000 < 1_000 and building.seconds_left is not None:
        print(f"version 2: {building.events:,} events, {building.seconds_left:.0f} s left")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
