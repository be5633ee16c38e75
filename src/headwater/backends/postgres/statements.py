"""The SQL of this room, from its .sql files, with the names of one store filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from psycopg.sql import Identifier

__all__ = ["Statements", "filled", "quoted", "text_of"]

EVENT_COLUMNS = """e.position, e.stream, e.version, uuid_send(e.id), e.type,
    coalesce(e.data_bytes, convert_to(e.data::text, 'UTF8')),
    coalesce(e.metadata_bytes, convert_to(e.metadata::text, 'UTF8')),
    array_to_string(e.tags, E'\\n'), coalesce(e.content_type, 'application/json'), e.recorded_us, e.occurred_us"""

STREAM_COLUMNS = """head.name, head.version, {schema}.first_version_v1(head),
    head.created_us, head.last_us, head.state, head.truncate_before, head.max_age_us, head.max_count"""

NOW_US = "(extract(epoch FROM clock_timestamp()) * 1000000)::int8"

_NAMED = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)


def quoted(name: str) -> str:
    """The name as an SQL identifier."""
    return Identifier(name).as_string(None)


@cache
def text_of(file: str) -> str:
    """The text of an .sql file of this room."""
    return (files(__package__) / "sql" / file).read_text(encoding="utf-8")


def filled(sql: str, **names: str) -> str:
    """``sql`` with its placeholders replaced. (Not ``str.format``: SQL has braces of its own.)"""
    for name, value in names.items():
        sql = sql.replace("{" + name + "}", value)
    return sql


class Statements:
    """The named statements of ``statements.sql`` for one store."""

    def __init__(self, schema: str, partitioned: bool) -> None:
        names = {
            "columns": EVENT_COLUMNS,
            "stream_columns": STREAM_COLUMNS,
            "now_us": NOW_US,
            **names_of(schema, partitioned),
        }
        self._texts = {name: filled(sql, **names).strip() for name, sql in _named().items()}

    def __getitem__(self, name: str) -> str:
        return self._texts[name]


def names_of(schema: str, partitioned: bool) -> dict[str, str]:
    """The placeholders that every file knows."""
    return {"ids": f"{quoted(schema)}.{'event_ids' if partitioned else 'events'}", "schema": quoted(schema)}


@cache
def _named() -> Mapping[str, str]:
    return dict(_NAMED.findall(text_of("statements.sql")))
