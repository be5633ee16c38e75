"""The same projection by the ``eventsourcing`` package's own runner, as its documentation has it."""

from __future__ import annotations

import itertools
import time

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import ApplicationRecorder, Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.sqlite import SQLiteTrackingRecorder
from psycopg.sql import SQL, Identifier

from measuring import LOAN

_tables = itertools.count()


class Loan(Aggregate):
    @event("Opened")
    def __init__(self) -> None:
        self.steps = 0

    @event("Stepped")
    def step(self, data: dict[str, object]) -> None:
        self.steps += 1


class SQLiteSteps(SQLiteTrackingRecorder):
    def construct_create_table_statements(self) -> list[str]:
        made = "create table steps (loan text primary key, steps integer not null, last_step text not null)"
        return [*super().construct_create_table_statements(), made]

    def stepped(self, loan: str, step: str, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(
                "insert into steps values (?, 1, ?) on conflict (loan) do update "
                "set steps = steps.steps + 1, last_step = excluded.last_step",
                (loan, step),
            )


class PostgresSteps(PostgresTrackingRecorder):
    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        self.steps_table = f"steps_{next(_tables)}"
        table = Identifier(self.datastore.schema), Identifier(self.steps_table)
        self.sql_create_statements.append(
            SQL("create table {}.{} (loan text primary key, steps bigint not null, last_step text not null)").format(
                *table
            )
        )
        self.upsert = SQL(
            "insert into {}.{} as s values (%s, 1, %s) on conflict (loan) do update "
            "set steps = s.steps + 1, last_step = excluded.last_step"
        ).format(*table)

    def stepped(self, loan: str, step: str, tracking: Tracking) -> None:
        with self.datastore.get_connection() as connection, connection.transaction(), connection.cursor() as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(self.upsert, (loan, step), prepare=True)


class CountSteps(Projection):
    def process_event(self, domain_event: object, tracking: Tracking) -> None:
        step = domain_event.data["activity"] if isinstance(domain_event, Loan.Stepped) else "opened"
        self.view.stepped(str(domain_event.originator_id), step, tracking)


def peer_rate(view: dict[str, str], log: dict[str, str], streams: int, steps: int) -> float:
    """Events a second by the package's runner, from a new application's log into a view of its own."""
    application: Application = Application(env=log)
    last = 0
    for _ in range(streams):
        loan = Loan()
        for _ in range(steps - 1):
            loan.step(data=LOAN)
        last = application.save(loan)[-1].notification.id

    class Filled(Application):
        def construct_recorder(self) -> ApplicationRecorder:
            return application.recorder

    start = time.perf_counter()
    with ProjectionRunner(
        application_class=Filled,
        projection_class=CountSteps,
        view_class=PostgresSteps if "POSTGRES_DBNAME" in view else SQLiteSteps,
        env=log | {f"COUNTSTEPS_{name}": value for name, value in view.items()},
    ) as runner:
        runner.wait(last, timeout=600)
        return streams * steps / (time.perf_counter() - start)
