"""Appends under way, and the parameters that carry them to the server-side functions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

import msgspec

from headwater.backend import Appended, Write
from headwater.backends.postgres.rows import array_of, expected_number, faithful, numbers_of, seeks_of, unless_empty
from headwater.events import JSON, EventRecord
from headwater.queries import AppendCondition

__all__ = ["REFUSED", "Kind", "Numbers", "Unit", "many_parameters", "one_parameters"]

Kind = Literal["plain", "conditional", "whole"]
"""Plain units share a call; so do conditional ones; a unit over several streams has a call for itself."""


Numbers = Sequence[int | None]
"""Two for each write, as ``append_v1`` says."""

REFUSED: Numbers = (None, None)


class Unit:
    """One append: stored whole or not at all."""

    __slots__ = (
        "answer",
        "as_bytes",
        "attempts",
        "conditions",
        "deadline",
        "events",
        "in_doubt",
        "kind",
        "size",
        "writes",
    )

    def __init__(self, writes: Sequence[Write], deadline: float = 0.0) -> None:
        self.writes = writes
        self.conditions = [write.condition for write in writes if write.condition is not None]
        self.events = 0
        self.size = 0  # about how many bytes a call grows by it
        for write in writes:
            self.events += len(write.records)
            for record in write.records:
                self.size += len(record.data) + len(record.metadata) + 200
        self.kind: Kind = "whole" if len(writes) > 1 else "conditional" if self.conditions else "plain"
        self.answer: asyncio.Future[list[Appended]] | None = None
        self.deadline = deadline
        """By the loop's clock: until when a broken connection is no reason to give up."""
        self.in_doubt = False
        """Whether a connection broke while it was under way, so that it may be stored without our knowing."""
        self.as_bytes = False
        """Whether JSONB refused its data."""
        self.attempts = 0

    @property
    def records(self) -> list[EventRecord]:
        """The events of all its writes."""
        return [record for write in self.writes for record in write.records]

    @property
    def turns(self) -> list[int]:
        """Its writes' indexes in order of stream: all calls lock the heads in one order, and never each other out."""
        return sorted(range(len(self.writes)), key=lambda index: self.writes[index].stream or "")

    @property
    def first_stream(self) -> str:
        """The first stream that it locks."""
        return self.writes[0].stream or ""

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.answer is not None and self.answer.done()

    def accept(self, results: list[Appended]) -> None:
        """Answer who waits."""
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(results)

    def refuse(self, error: BaseException) -> None:
        """Answer who waits."""
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(error)

    def results(self, numbers: Numbers) -> list[Appended] | None:
        """What the server's numbers say, one result per write; None where it was refused."""
        results = []
        for version, position in zip(numbers[::2], numbers[1::2], strict=True):
            if version is None or position is None or version < 0:
                return None
            results.append(Appended(version, position))
        return results

    def failed_condition(self, numbers: Numbers) -> tuple[AppendCondition, int] | None:
        """The condition that did not hold, and where an event matches it."""
        for version, position in zip(numbers[::2], numbers[1::2], strict=True):
            if version is not None and position is not None and version < 0:
                return self.conditions[-version - 1], position
        return None


def one_parameters(unit: Unit, *, exclusive: bool) -> tuple[bytes | None, ...] | None:
    """For ``append_one``; None where the unit is more than that function takes."""
    write = unit.writes[0]
    record = write.records[0]
    metadata = record.metadata
    if (
        len(write.records) > 1
        or unit.kind != "plain"
        or unit.as_bytes
        or write.stream is None
        or record.occurred_us is not None
        or not faithful(record.content_type, record.data)
        or (metadata and not faithful(JSON, metadata))
    ):
        return None
    expected = expected_number(write.expected)
    return (
        b"t" if exclusive else b"f",
        write.stream.encode(),
        None if expected is None else b"%d" % expected,
        record.id.hex().encode(),
        record.type.encode(),
        record.data,
        metadata or None,
        "\n".join(record.tags).encode() if record.tags else None,
        None if record.content_type == JSON else record.content_type.encode(),
    )


def many_parameters(units: Sequence[Unit], *, exclusive: bool) -> tuple[bytes | None, ...]:
    """For ``append_many`` and ``append_whole``: arrays in PostgreSQL's text form, None for one that has no values."""
    writes = [write for unit in units for write in unit.writes]
    records = [record for write in writes for record in write.records]
    as_bytes = [unit.as_bytes for unit in units for _ in range(unit.events)]
    sizes = [len(write.records) for write in writes]
    data, data_bytes = _split(as_bytes, [(record.content_type, record.data) for record in records])
    metadata, metadata_bytes = _split(as_bytes, [(JSON, record.metadata) for record in records])
    return (
        b"t" if exclusive else b"f",
        array_of([None if write.stream is None else write.stream.encode() for write in writes]),
        unless_empty(numbers_of, [expected_number(write.expected) for write in writes]),
        numbers_of(sizes),
        _conditions(units),
        numbers_of([index + 1 for index in units[0].turns]) if units[0].kind == "whole" else None,
        numbers_of([number for number, size in enumerate(sizes, 1) for _ in range(size)]),
        numbers_of([rank for size in sizes for rank in range(1, size + 1)]),
        ("{" + ",".join([record.id.hex() for record in records]) + "}").encode(),
        array_of([record.type.encode() for record in records]),
        unless_empty(array_of, data),
        unless_empty(array_of, data_bytes),
        unless_empty(array_of, metadata),
        unless_empty(array_of, metadata_bytes),
        unless_empty(array_of, ["\n".join(record.tags).encode() if record.tags else None for record in records]),
        unless_empty(
            array_of, [None if record.content_type == JSON else record.content_type.encode() for record in records]
        ),
        unless_empty(numbers_of, [record.occurred_us for record in records]),
    )


def _split(
    as_bytes: Sequence[bool], given: Sequence[tuple[str, bytes]]
) -> tuple[list[bytes | None], list[bytes | None]]:
    """Texts for JSONB, and hexadecimal texts for bytea: one of the two for each; neither for empty metadata."""
    texts: list[bytes | None] = []
    hexes: list[bytes | None] = []
    for (content_type, content), refused in zip(given, as_bytes, strict=True):
        if not content and content_type == JSON:
            text = hexadecimal = None
        elif not refused and faithful(content_type, content):
            text, hexadecimal = content, None
        else:
            text, hexadecimal = None, b"\\x" + content.hex().encode()
        texts.append(text)
        hexes.append(hexadecimal)
    return texts, hexes


def _conditions(units: Sequence[Unit]) -> bytes | None:
    """One entry per write: all of a unit's conditions stand at its write that is judged first, before any is stored."""
    if not any(unit.conditions for unit in units):
        return None
    entries: list[bytes | None] = []
    for unit in units:
        conditions = [{"after": each.after, "seeks": seeks_of(each.fail_if_match)} for each in unit.conditions]
        own: list[bytes | None] = [None] * len(unit.writes)
        own[unit.turns[0]] = msgspec.json.encode(conditions) if conditions else None
        entries += own
    return array_of(entries)
