"""Between our events and Marten's rows: what goes into which column, and what stands beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headwater.backends.marten.shape import Shape
from headwater.backends.marten.url import Target
from headwater.backends.postgres.rows import event_of, faithful
from headwater.errors import InvalidEvent
from headwater.events import JSON, Event, EventRecord, is_json

__all__ = ["Row", "Rows"]

ALIAS_MAX = 500
"""Characters of ``mt_events.type``."""

_decode = msgspec.json.decode
_encode = msgspec.json.Encoder().encode


class Row(EventRecord, frozen=True, kw_only=True):
    """An event with the columns of its row in Marten's table, and of what stands beside it."""

    alias: str
    code: str | None
    dotnet_type: str
    body: bytes
    """For ``data``: JSON that JSONB takes."""
    blob: bytes | None
    """For ``bdata``, where the data is not JSON; the body is then ``{}``, as Marten has it."""
    headers: bytes | None
    correlation: str | None
    causation: str | None
    user_name: str | None
    exact_data: bytes | None
    exact_metadata: bytes | None


class Rows:
    """Makes rows of events, and events of rows, for tables of one shape."""

    def __init__(self, target: Target, shape: Shape) -> None:
        self._aliases = target.aliases
        self._casing = target.casing
        self._options = shape.options

    def row(self, record: EventRecord, dotnet_type: str) -> Row:
        """The event as a row. ``InvalidEvent`` where these tables have no place for it."""
        alias = self._aliases.alias(record.type)
        if len(alias) > ALIAS_MAX:
            raise InvalidEvent(
                f"the alias of event type {record.type[:40]!r}… has {len(alias)} characters",
                f"Marten takes {ALIAS_MAX}: shorten it, or give it an alias in the URL (alias=Type:alias).",
            )
        body, blob, exact_data = self._data(record)
        headers, columns, exact_metadata = self._metadata(record.metadata) if record.metadata else (None, {}, None)
        return Row(
            record.id,
            record.type,
            record.data,
            record.metadata,
            record.tags,
            record.content_type,
            record.occurred_us,
            alias=alias,
            code=self._aliases.code(record.type),
            dotnet_type=dotnet_type,
            body=body,
            blob=blob,
            headers=headers,
            correlation=columns.get("correlation_id"),
            causation=columns.get("causation_id"),
            user_name=columns.get("user_name"),
            exact_data=exact_data,
            exact_metadata=exact_metadata,
        )

    def event_of(self, row: Sequence[Any]) -> Event:
        """The event in a row of the columns that every reading statement selects."""
        *columns, exact = row
        columns[4] = self._aliases.type_of(columns[4])
        if not exact:
            columns[5] = self._casing.here(columns[5])
        return event_of(columns)

    def _data(self, record: EventRecord) -> tuple[bytes, bytes | None, bytes | None]:
        """For ``data``, for ``bdata``, and what has to stand beside so that the very data can be given back."""
        if not is_json(record.content_type):
            if "bdata" not in self._options:
                raise InvalidEvent(
                    f"event {record.type!r} has data of the type {record.content_type}",
                    "This application's tables take JSON only (binary payloads came with Marten 9.3).",
                )
            return b"{}", record.data, None
        there = self._casing.there(record.data)
        if not faithful(JSON, record.data):
            return _bearable(there, f"the data of event {record.type!r}"), None, record.data
        return there, None, None if self._casing.here(there) == record.data else record.data

    def _metadata(self, metadata: bytes) -> tuple[bytes | None, dict[str, str], bytes | None]:
        """For ``headers``, for the other columns, and what has to stand beside. Where there are columns, they are
        filled in any case: the application shall find what it looks for."""
        given: dict[str, Any] = _decode(metadata)
        columns = {}
        for name, option in (
            ("correlation_id", "correlation"),
            ("causation_id", "causation"),
            ("user_name", "user_name"),
        ):
            if option in self._options and isinstance(given.get(name), str) and "\0" not in given[name]:
                columns[name] = given.pop(name)
        if not given:
            return None, columns, None
        if "headers" not in self._options:
            return None, columns, metadata
        headers = _encode(given)
        whole = faithful(JSON, metadata)
        return (headers if whole else _bearable(headers, "the metadata")), columns, None if whole else metadata


def _bearable(data: bytes, what: str) -> bytes:
    """The JSON with U+FFFD for the characters that JSONB has no place for: U+0000, and halves of surrogate pairs."""
    if b"\\u" not in data:
        return data
    try:
        return _encode(_without_nul(_decode(data)))
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise InvalidEvent(
            f"{what} holds JSON that JSONB does not take ({error})", "Give it in another form, or as bytes."
        ) from None


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_nul(each) for each in value]
    return value
