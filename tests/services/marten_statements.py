"""The statements that Marten sends, each on its own: from the source of 9.29, and of 8.37 where it differs."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg

from headwater.backends.marten.compatible import Options
from tests.services.marten_events import NetEvent

__all__ = ["Connection", "Statements", "StreamId"]

Connection = psycopg.AsyncConnection[Any]
StreamId = str | uuid.UUID


class Statements:
    """For one schema and one tenant."""

    def __init__(self, options: Options, tenant: str) -> None:
        self._options = options
        self._tenant = tenant
        self._schema = f'"{options.schema}"'
        self._mine = "AND tenant_id = %(tenant)s" if options.conjoined else ""

    async def draw(self, connection: Connection, count: int) -> tuple[int, ...]:
        """So many numbers of the log."""
        drawn = await connection.execute(
            f"SELECT nextval('{self._schema}.mt_events_sequence') FROM generate_series(1, {count})"
        )
        return tuple([row[0] for row in await drawn.fetchall()])

    async def head(self, connection: Connection, stream: StreamId, lock: bool = False) -> tuple[int, bool] | None:
        """The stream's version, and whether it is archived. None: there is no such stream."""
        found = await connection.execute(
            f"""SELECT version, is_archived FROM {self._schema}.mt_streams
                WHERE id = %(stream)s {self._mine} {"FOR UPDATE" if lock else ""}""",
            self._named(stream),
        )
        return await found.fetchone()

    async def new_stream(
        self, connection: Connection, stream: StreamId, version: int, aggregate: str | None = None
    ) -> None:
        """``InsertStream``: with the version that it will have."""
        await connection.execute(
            f"""INSERT INTO {self._schema}.mt_streams (id, type, version, tenant_id)
                VALUES (%(stream)s, %(aggregate)s, %(version)s, %(tenant)s)""",
            {**self._named(stream), "aggregate": aggregate, "version": version},
        )

    async def move(self, connection: Connection, stream: StreamId, version: int, by: int) -> bool:
        """``UpdateStreamVersion``: whether the stream was still where it was."""
        moved = await connection.execute(
            f"""UPDATE {self._schema}.mt_streams SET version = %(next)s
                WHERE id = %(stream)s AND version = %(version)s {self._mine} RETURNING version""",
            {**self._named(stream), "version": version, "next": version + by},
        )
        return moved.rowcount == 1

    async def put(
        self,
        connection: Connection,
        stream: StreamId,
        event: NetEvent,
        version: int,
        number: int | None = None,
        timestamp: datetime | str | None = None,
    ) -> int:
        """``AppendEvent``: one row of the log. Without a number, the statement draws one. Gives the number."""
        headers = None if event.headers is None else _json(event.headers)
        row: dict[str, Any] = {
            "data": _json(event.data),
            "type": event.type,
            "mt_dotnet_type": event.dotnet_type,
            "id": event.id,
            "stream_id": stream,
            "version": version,
            "timestamp": timestamp or datetime.now(UTC),
            "tenant_id": self._tenant,
            **({"correlation_id": event.correlation} if "correlation" in self._options.metadata else {}),
            **({"causation_id": event.causation} if "causation" in self._options.metadata else {}),
            **({"headers": headers} if "headers" in self._options.metadata else {}),
            **({"user_name": event.user_name} if "user_name" in self._options.metadata else {}),
        }
        drawn = f"nextval('{self._schema}.mt_events_sequence')" if number is None else str(number)
        stored = await connection.execute(
            f"""INSERT INTO {self._schema}.mt_events ({", ".join(row)}, seq_id)
                VALUES ({", ".join(f"%({column})s" for column in row)}, {drawn}) RETURNING seq_id""",
            row,
        )
        return await _one(stored)

    async def call(
        self, connection: Connection, stream: StreamId, events: Sequence[NetEvent], expected: int | None
    ) -> list[int]:
        """What ``mt_quick_append_events`` gives. Arguments by place, as Marten sends them."""
        given: list[tuple[str, Any]] = [
            ("uuid" if self._options.identity == "guid" else "varchar", stream),
            ("varchar", None),  # the aggregate's alias: Append says none
            ("varchar", self._tenant),
            ("uuid[]", [event.id for event in events]),
            ("varchar[]", [event.type for event in events]),
            ("varchar[]", [event.dotnet_type for event in events]),
            ("text[]::jsonb[]", [_json(event.data) for event in events]),
        ]
        if self._options.version == 9:
            given.append(("bytea[]", [None for _ in events]))
        if "causation" in self._options.metadata:
            given.append(("varchar[]", [event.causation for event in events]))
        if "correlation" in self._options.metadata:
            given.append(("varchar[]", [event.correlation for event in events]))
        if "headers" in self._options.metadata:  # where there are none, JSON's null
            given.append(("text[]::jsonb[]", [_json(event.headers) for event in events]))
        if "user_name" in self._options.metadata:
            given.append(("varchar[]", [event.user_name for event in events]))
        if self._options.version == 9:
            given += [("timestamptz[]", [datetime.now(UTC) for _ in events]), ("bigint", expected)]
        arguments = ", ".join(f"%s::{sqltype}" for sqltype, _ in given)
        answer: list[int] = await _one(
            await connection.execute(
                f"SELECT {self._schema}.mt_quick_append_events({arguments})", [value for _, value in given]
            )
        )
        return answer

    async def tombstone_stream(self, connection: Connection, stream: StreamId) -> None:
        """``EstablishTombstoneStream``: its version is never moved."""
        await connection.execute(
            f"""INSERT INTO {self._schema}.mt_streams (id, tenant_id, version, is_archived)
                VALUES (%(stream)s, %(tenant)s, 0, false)
                ON CONFLICT ({"id, tenant_id" if self._options.conjoined else "id"}) DO NOTHING""",
            self._named(stream),
        )

    async def archive(self, connection: Connection, stream: StreamId) -> None:
        """``ArchiveStream``."""
        tenant = ", %(tenant)s" if self._options.conjoined else ""
        await connection.execute(f"SELECT {self._schema}.mt_archive_stream(%(stream)s{tenant})", self._named(stream))

    async def overwrite(self, connection: Connection, event_id: uuid.UUID, data: dict[str, Any]) -> None:
        """``OverwriteEvent``."""
        await connection.execute(
            f"UPDATE {self._schema}.mt_events SET data = %(data)s WHERE id = %(id)s {self._mine}",
            {"data": _json(data), "id": event_id, "tenant": self._tenant},
        )

    async def mark(self, connection: Connection) -> int:
        """The high-water mark; 0 where none is noted."""
        return await _one(
            await connection.execute(
                f"""SELECT coalesce(max(last_seq_id), 0) FROM {self._schema}.mt_event_progression
                    WHERE name = 'HighWaterMark'"""
            )
        )

    async def run(self, connection: Connection, mark: int) -> int:
        """Where the unbroken run of stored numbers ends that begins behind the mark."""
        found = await connection.execute(
            f"""SELECT min(seq_id) FILTER (WHERE seq_id > %(mark)s),
                    min(seq_id) FILTER (WHERE next > seq_id + 1),
                    max(seq_id)
                FROM (SELECT seq_id, lead(seq_id) OVER (ORDER BY seq_id) AS next
                    FROM {self._schema}.mt_events WHERE seq_id >= %(mark)s) AS stored""",
            {"mark": mark},
        )
        first, edge, last = await found.fetchone() or (None, None, None)
        return mark if first is None or first > mark + 1 else edge or last

    async def note_mark(self, connection: Connection, mark: int) -> None:
        """Write the high-water mark."""
        await connection.execute(f"SELECT {self._schema}.mt_mark_event_progression('HighWaterMark', %s)", [mark])

    async def pass_over(self, connection: Connection, start: int, end: int) -> int:
        """Move the high-water mark from ``start`` over a gap to ``end``, and note that. Gives where the mark is."""
        return await _one(
            await connection.execute(
                f"SELECT {self._schema}.mt_mark_progression_with_skip('HighWaterMark', %s, %s)", [end, start]
            )
        )

    def _named(self, stream: StreamId) -> dict[str, Any]:
        return {"stream": stream, "tenant": self._tenant}


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


async def _one(found: psycopg.AsyncCursor[Any]) -> Any:
    """The one value that was found."""
    row = await found.fetchone()
    assert row is not None
    return row[0]
