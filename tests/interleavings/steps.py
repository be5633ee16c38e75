"""Writers and readers of the gate taken apart, so that a schedule decides which of them makes its next step.

Each has a connection of its own and makes its steps in the order it is given, each as a statement of its own: the
statements of ``append_1.sql`` and ``horizon_1.sql``, over the same locks. A step that would have to wait is not made
(``pg_try_…``), so one thread can drive them all and a schedule always gives the same run.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg

WRITER = ("gate", "last value", "lock", "draw", "insert", "commit")
READER = ("last value", "locks", "rows")


class Log:
    """A store's schema, as raw SQL sees it."""

    def __init__(self, url: str, schema: str) -> None:
        self.url = url
        self.schema = schema
        self.gate = f"'{schema}.streams'::regclass::oid::int4, 0"
        self._connections: list[psycopg.Connection[Any]] = []
        self._free: list[psycopg.Connection[Any]] = []
        self.numbers = itertools.count(1)

    def connection(self) -> psycopg.Connection[Any]:
        """A connection of one's own, in autocommit. Nobody waits for the disk: this is about order, not durability."""
        if not self._free:
            self._free.append(psycopg.connect(self.url, autocommit=True))
            self._free[-1].execute("SET synchronous_commit = off")
            self._connections.append(self._free[-1])
        return self._free.pop()

    def give_back(self, connection: psycopg.Connection[Any]) -> None:
        connection.rollback()
        self._free.append(connection)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


def value(connection: psycopg.Connection[Any], statement: str, *values: Any) -> Any:
    """The one value of a statement."""
    row = connection.execute(statement, values or None).fetchone()
    assert row is not None
    return row[0]


class Writer:
    """One append of one event. Ends by a commit or, if it ``fails``, by a rollback."""

    def __init__(
        self, log: Log, *, order: Sequence[str] = WRITER, fails: bool = False, condition: str | None = None
    ) -> None:
        self.log = log
        self.connection = log.connection()
        self.connection.execute("BEGIN")
        self.steps = list(order)
        self.fails = fails
        self.condition = condition  # the type that must not be there yet
        self.last = 0
        self.position = 0
        self.committed = False
        self.refused = False

    @property
    def done(self) -> bool:
        return not self.steps

    def step(self) -> bool:
        """Make the next step, unless it would have to wait. Says whether it was made."""
        make: Callable[[], bool] = getattr(self, "_" + self.steps[0].replace(" ", "_"))
        if not make():
            return False
        self.steps = self.steps[1:]
        return True

    def _gate(self) -> bool:
        kind = "" if self.condition else "_shared"
        return bool(value(self.connection, f"SELECT pg_try_advisory_xact_lock{kind}({self.log.gate})"))

    def _last_value(self) -> bool:
        self.last = value(self.connection, f"SELECT last_value FROM {self.log.schema}.positions")
        return True

    def _lock(self) -> bool:
        key = f"'{self.log.schema}.positions'::regclass::oid::int4, %s::int8::bit(32)::int4"
        self.connection.execute(f"SELECT pg_advisory_xact_lock_shared({key})", (self.last,))
        return True

    def _draw(self) -> bool:
        if self.condition is not None:
            query = f"SELECT EXISTS (SELECT FROM {self.log.schema}.events WHERE type = %s)"
            self.refused = value(self.connection, query, self.condition)
        if not self.refused:
            self.position = value(self.connection, f"SELECT nextval('{self.log.schema}.positions')")
        return True

    def _insert(self) -> bool:
        if not self.refused:
            self.connection.execute(
                f"INSERT INTO {self.log.schema}.events (position, stream, version, id, type, data, content_type, "
                "recorded_us) VALUES (%s, %s, 1, %s, %s, '{}', 'application/json', 0)",
                (self.position, f"loan-{next(self.log.numbers)}", uuid.uuid4(), self.condition or "A_SUBMITTED"),
            )
        return True

    def _commit(self) -> bool:
        self.connection.execute("ROLLBACK" if self.fails or self.refused else "COMMIT")
        self.committed = not (self.fails or self.refused)
        self.log.give_back(self.connection)
        return True


class Reader:
    """Follows the log for ever, page by page, in steps of one statement."""

    def __init__(self, log: Log, *, order: Sequence[str] = READER) -> None:
        self.log = log
        self.connection = log.connection()
        self.order = order
        self.after = value(self.connection, f"SELECT last_value FROM {log.schema}.positions")
        self.seen: list[int] = []
        self._pass: Iterator[None] = iter(())

    def step(self) -> bool:
        """Make the next step of this pass, or the first of the next one."""
        if next(self._pass, self) is self:
            self._pass = self._steps()
            next(self._pass)
        return True

    def read(self) -> list[int]:
        """End this pass, and make another one undisturbed: what is settled by now has been seen after it."""
        for _ in self._pass:
            pass
        for _ in self._steps():
            pass
        return self.seen

    def _steps(self) -> Iterator[None]:
        last = held = 0
        rows: list[int] = []
        for number, step in enumerate(self.order):
            if step == "last value":
                last = value(self.connection, f"SELECT last_value FROM {self.log.schema}.positions")
            elif step == "locks":
                held = self._lowest_lock()
            elif step == "horizon":  # the real function: both of the above
                last = held = value(self.connection, f"SELECT {self.log.schema}.horizon_v1()")
            else:
                known = min(last, held) if self.order[-1] == "rows" else 2**62
                rows = self._rows(known)
            if number == len(self.order) - 1:
                self._deliver(rows, min(last, held))
            yield

    def _rows(self, upto: int) -> list[int]:
        query = (
            f"SELECT position FROM {self.log.schema}.events WHERE position > %s AND position <= %s ORDER BY position"
        )
        return [position for (position,) in self.connection.execute(query, (self.after, upto))]

    def _deliver(self, rows: list[int], horizon: int) -> None:
        self.seen += [position for position in rows if position <= horizon]
        self.after = max(self.after, horizon)

    def _lowest_lock(self) -> int:
        query = (
            "SELECT min(objid::int8) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 "
            f"AND mode = 'ShareLock' AND classid = '{self.log.schema}.positions'::regclass::oid "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        lowest = value(self.connection, query)
        return 2**62 if lowest is None else int(lowest)
