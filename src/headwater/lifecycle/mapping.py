"""Which column or attribute of a log means what, and the new event that comes of a logged one.

Ids are made from where an event stands (source, stream, place in the stream) and what it says, so the same file
gives the same ids whatever it is called and however it is packed: importing it again adds nothing, and a file that
has grown since adds what is new.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from headwater.errors import InvalidEvent
from headwater.events import NewEvent
from headwater.lifecycle.files import InvalidFile

__all__ = ["Incoming", "Logged", "Mapper", "Mapping", "plain_text"]

_NAMESPACE = uuid.UUID("6f0c1f1e-3c55-5d0b-9a54-5a3d1d9d6e0f").bytes

_USUAL = {
    "stream": ("case:concept:name", "case_id", "caseid", "case", "case id", "trace_id", "stream", "entity_id"),
    "type": ("concept:name", "activity", "event_type", "type", "event", "activity name", "action"),
    "time": ("time:timestamp", "timestamp", "time", "occurred_at", "datetime", "date", "complete timestamp"),
    "resource": ("org:resource", "resource"),
}
"""Names that columns usually have, best first; case does not matter."""


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """How the columns of a table, or the attributes of an XES log, become events.

    What is None is found by the usual names (``case_id``, ``activity``, ``timestamp``; in XES ``concept:name`` and
    ``time:timestamp``).
    """

    category: str = "case"
    """Category of the streams: case 173688 becomes stream ``case-173688``."""
    stream_column: str | None = None
    """Column of the case: one stream per value. XES says it by itself."""
    type_column: str | None = None
    """Column, or XES attribute, of the event's type."""
    time_column: str | None = None
    """Column, or XES attribute, of when it happened."""
    tag_columns: tuple[tuple[str, str], ...] | None = None
    """(tag, column): ``("resource", "org:resource")`` gives tags such as ``resource:112``."""
    time_format: str | None = None
    """As ``datetime.strptime`` has it; None: ISO 8601."""
    timezone: str = "UTC"
    """Of times that say none."""
    delimiter: str | None = None
    """Between the columns of a CSV file; None: found in its first line."""
    source: str | None = None
    """Name of where the events come from. It goes into their metadata and their ids."""


class Logged(msgspec.Struct):
    """One event as a log has it."""

    case: str | None
    """Its case, where the log's format says it; else a column does."""
    attributes: dict[str, Any]
    place: str
    """Where it stands in the file, for messages."""


class Incoming(msgspec.Struct):
    """One event on its way into a store."""

    stream: str | None
    before: int
    """The version that its stream must have before it."""
    event: NewEvent
    size: int
    """About how many bytes it will be stored in."""
    place: str


class Mapper:
    """Makes new events from logged ones by a mapping. It remembers how far each stream has come, and nothing else."""

    def __init__(self, file: str, mapping: Mapping, columns: Iterable[str], *, cases_known: bool) -> None:
        self._file = file
        self._mapping = mapping
        self._columns = {name.casefold(): name for name in columns}
        self._stream_column = None if cases_known else self._column("stream", mapping.stream_column)
        self._type_column = self._column("type", mapping.type_column)
        self._time_column = self._column("time", mapping.time_column, optional=True)
        self._tag_columns = self._tags(mapping.tag_columns)
        self._zone = _zone(mapping.timezone)
        self._metadata = {"source": mapping.source} if mapping.source else None
        self._versions: dict[str, int] = {}

    def _column(self, role: str, given: str | None, *, optional: bool = False) -> str:
        if given is not None:
            return self._columns.get(given.casefold(), given) if self._columns else given
        for usual in _USUAL[role]:
            if usual in self._columns:
                return self._columns[usual]
        if optional:
            return ""
        raise InvalidFile(
            self._file,
            None,
            f"none of its columns ({', '.join(self._columns.values())}) has a usual name for the event's {role}",
            f"Say which it is: --{role}-column NAME.",
        )

    def _tags(self, given: tuple[tuple[str, str], ...] | None) -> tuple[tuple[str, str], ...]:
        if given is not None:
            return tuple((tag, self._columns.get(column.casefold(), column)) for tag, column in given)
        resource = self._column("resource", None, optional=True)
        return (("resource", resource),) if resource else ()

    def check_columns(self) -> None:
        """Refuse a mapping that names a column which a table does not have."""
        named = (
            self._stream_column,
            self._type_column,
            self._time_column,
            *(column for _, column in self._tag_columns),
        )
        for column in named:
            if column and column not in self._columns.values():
                raise InvalidFile(
                    self._file,
                    None,
                    f"it has no column {column!r}",
                    f"Its columns are: {', '.join(self._columns.values())}.",
                )

    def incoming(self, logged: Logged) -> Incoming:
        """The new event, its stream, and the version it follows. Raises ``InvalidFile`` with its place."""
        data = logged.attributes
        case = logged.case if self._stream_column is None else plain_text(data.pop(self._stream_column, None))
        if not case:
            raise self._bad(logged, f"its {self._stream_column or 'case'!r} is empty", "Each event needs its case.")
        kind = plain_text(data.pop(self._type_column, None))
        if not kind:
            raise self._bad(
                logged, f"it has no {self._type_column!r}", "Each event needs a type; say its column: --type-column."
            )
        stream = f"{self._mapping.category}-{case}"
        before = self._versions.get(stream, 0)
        content = self._content(logged, stream, before, kind)
        try:
            event = NewEvent(
                kind,
                data,
                id=uuid.UUID(bytes=hashlib.sha1(_NAMESPACE + content, usedforsecurity=False).digest()[:16], version=5),
                metadata=self._metadata,
                tags=[f"{tag}:{text}" for tag, column in self._tag_columns if (text := plain_text(data.get(column)))],
                occurred_at=self._moment(logged),
            )
        except InvalidEvent as error:
            raise self._bad(logged, error.what, error.expected) from None
        self._versions[stream] = before + 1
        return Incoming(stream, before, event, len(content), logged.place)

    def _content(self, logged: Logged, stream: str, before: int, kind: str) -> bytes:
        """What the id is made from: the place and the facts."""
        try:
            return msgspec.json.encode((self._mapping.source, stream, before, kind, logged.attributes))
        except (UnicodeEncodeError, OverflowError, ValueError) as error:
            raise self._bad(logged, f"it can't be written as JSON ({error})", "Correct it in the file.") from None

    def _moment(self, logged: Logged) -> datetime | None:
        text = plain_text(logged.attributes.get(self._time_column))
        if not text:
            return None
        try:
            form = self._mapping.time_format
            moment = datetime.fromisoformat(text) if form is None else datetime.strptime(text, form)
        except ValueError:
            expected = self._mapping.time_format or "ISO 8601, such as 2011-10-01T00:38:44.546+02:00"
            raise self._bad(
                logged,
                f"its {self._time_column!r} is {text[:60]!r}, which is not a time as {expected}",
                "Correct it, or say how times are written: --time-format '%d.%m.%Y %H:%M'.",
            ) from None
        return moment if moment.tzinfo else moment.replace(tzinfo=self._zone)

    def _bad(self, logged: Logged, problem: str, remedy: str) -> InvalidFile:
        return InvalidFile(self._file, logged.place, problem, remedy)


def plain_text(value: object) -> str:
    """A column's value as text; of an attribute with attributes of its own, its value."""
    if isinstance(value, dict):
        value = value.get("value")
    return "" if value is None else str(value).strip()


def _zone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidEvent(
            f"the time zone {name!r} is not known", "Give one such as Europe/Amsterdam, or UTC."
        ) from None
