"""How appends are sent to ``append_v1``, and what it says of those that it refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import msgspec

from headwater.appending import Place
from headwater.backend import Appended
from headwater.backends.marten.names import Names
from headwater.backends.marten.records import Row
from headwater.backends.marten.url import Target
from headwater.backends.postgres.calls import Ask, first_or_refusal, numbers_in, shares_of
from headwater.backends.postgres.connections import Connection, fetched
from headwater.backends.postgres.rows import array_of, expected_number, numbers_of, seeks_of, unless_empty
from headwater.backends.postgres.statements import Statements
from headwater.backends.postgres.units import Numbers, Unit
from headwater.errors import InvalidEvent
from headwater.queries import Query, QueryItem

__all__ = ["MartenCalls", "query_there"]


class MartenCalls:
    """See ``headwater.backends.postgres.calls.Calls``. The records of its units are ``Row``s."""

    def __init__(self, statements: Statements, names: Names, target: Target) -> None:
        self._statements = statements
        self._names = names
        self._target = target

    async def send(self, ask: Ask, units: Sequence[Unit], *, careful: bool = False) -> list[Numbers]:
        """See ``Calls.send``. ``InvalidEvent`` where JSONB has refused the data."""
        for unit in units:
            if unit.as_bytes:
                raise InvalidEvent(
                    "an event of the append holds something that PostgreSQL can't keep as JSONB or text",
                    "Is its JSON too deep? Give it in another form, or as bytes.",
                )
        value = await ask(self._statements["append"], self._parameters(units))
        assert value is not None
        shares = shares_of(numbers_in(value), units)
        return [_without_versions(share, unit) for share, unit in zip(shares, units, strict=True)]

    async def explain(self, connection: Connection, unit: Unit) -> list[Appended] | None:
        """See ``Calls.explain``."""
        ids = "{" + ",".join([record.id.hex() for record in unit.records]) + "}"
        places = await fetched(connection, self._statements["places"], (ids,))
        names = {self._names.key(write.stream): write.stream for write in unit.writes if write.stream is not None}
        keys = array_of([key.encode() for key in names]).decode()
        heads = {row[0]: row[1:] for row in await fetched(connection, self._statements["heads"], (keys,))}
        if others := set(heads) - set(names.values()):
            raise InvalidEvent(f"the GUID is that of stream {others.pop()!r}", "Append to it by that name.")
        return first_or_refusal(unit, {row[0]: Place(*row[1:]) for row in places}, heads)

    def _parameters(self, units: Sequence[Unit]) -> tuple[bytes | None, ...]:
        """Arrays in PostgreSQL's text form, None for one that has no values."""
        writes = [write for unit in units for write in unit.writes]
        rows = [cast(Row, record) for write in writes for record in write.records]
        sizes = [len(write.records) for write in writes]
        kinds: dict[str, str | None] = {}
        keys = []
        for write in writes:
            if write.stream is None:
                key, kind = self._names.loose(write.records[0])
            else:
                key, kind = self._names.key(write.stream), self._names.kind(write.stream)
            kinds[key] = kind
            keys.append(key)
        places = {key: place for place, key in enumerate(kinds, 1)}
        return (
            _texts(kinds),
            unless_empty(_texts, list(kinds.values())),
            numbers_of([number for number, unit in enumerate(units, 1) for _ in unit.writes]),
            numbers_of([places[key] for key in keys]),
            unless_empty(numbers_of, [expected_number(write.expected) for write in writes]),
            numbers_of(sizes),
            self._conditions(units),
            numbers_of([number for number, size in enumerate(sizes, 1) for _ in range(size)]),
            numbers_of([rank for size in sizes for rank in range(1, size + 1)]),
            ("{" + ",".join([row.id.hex() for row in rows]) + "}").encode(),
            _texts([row.alias for row in rows]),
            unless_empty(_texts, [row.code for row in rows]),
            _texts([row.dotnet_type for row in rows]),
            array_of([row.body for row in rows]),
            unless_empty(_hexes, [row.blob for row in rows]),
            unless_empty(array_of, [row.headers for row in rows]),
            unless_empty(_texts, [row.correlation for row in rows]),
            unless_empty(_texts, [row.causation for row in rows]),
            unless_empty(_texts, [row.user_name for row in rows]),
            unless_empty(_hexes, [row.exact_data for row in rows]),
            unless_empty(_hexes, [row.exact_metadata for row in rows]),
            unless_empty(_texts, ["\n".join(row.tags) or None for row in rows]),
            unless_empty(
                _texts, [None if row.content_type == "application/json" else row.content_type for row in rows]
            ),
            unless_empty(numbers_of, [row.occurred_us for row in rows]),
        )

    def _conditions(self, units: Sequence[Unit]) -> bytes | None:
        """One entry per write: all of a unit's conditions stand at its first, before any of it is stored."""
        if not any(unit.conditions for unit in units):
            return None
        entries: list[bytes | None] = []
        for unit in units:
            seeks = [seeks_of(self.query_there(each.fail_if_match)) for each in unit.conditions]
            said = [{"after": each.after, "seeks": own} for each, own in zip(unit.conditions, seeks, strict=True)]
            entries += [msgspec.json.encode(said) if said else None, *[None] * (len(unit.writes) - 1)]
        return array_of(entries)

    def query_there(self, query: Query) -> Query:
        """See the function of this name."""
        return query_there(query, self._names, self._target)


def query_there(query: Query, names: Names, target: Target) -> Query:
    """The query with types as they are found there, and streams by their ids."""
    if not query.items:
        return query
    return Query(
        QueryItem(
            types=[target.aliases.key(kind) for kind in item.types],
            tags=item.tags,
            categories=item.categories,
            streams=[names.key(stream) for stream in item.streams],
        )
        for item in query.items
    )


def _without_versions(numbers: Numbers, unit: Unit) -> Numbers:
    """The numbers, with 0 for the version of events without a stream."""
    given = list(numbers)
    for index, write in enumerate(unit.writes):
        if write.stream is None and (given[2 * index] or 0) > 0:
            given[2 * index] = 0
    return given


def _texts(texts: Iterable[str | None]) -> bytes:
    return array_of([None if text is None else text.encode() for text in texts])


def _hexes(blobs: Iterable[bytes | None]) -> bytes:
    return array_of([None if blob is None else b"\\x" + blob.hex().encode() for blob in blobs])
