"""The SQL of this room, from its .sql files, with the names of one store filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from psycopg.sql import Identifier

__all__ = ["NOW_US", "Statements", "filled", "named_in", "quoted", "statements_of", "text_of"]

EVENT_COLUMNS = """e.position, e.stream, e.version, uuid_send(e.id), e.type,
    coalesce(e.data_bytes, convert_to(e.data::text, 'UTF8')),
    coalesce(e.metadata_bytes, convert_to(e.metadata::text, 'UTF8')),
    array_to_string(e.tags, E'\\n'), coalesce(e.content_type, 'application/json'), e.recorded_us, e.occurred_us"""

STREAM_COLUMNS = """head.name, head.version, {first_version},
    head.created_us, head.last_us, head.state, head.truncate_before, head.max_age_us, head.max_count"""

NOW_US = "(extract(epoch FROM clock_timestamp()) * 1000000)::int8"

_NAMED = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)


def quoted(name: str) -> str:
    """The name as an SQL identifier."""
    return Identifier(name).as_string(None)


@cache
def text_of(file: str, room: str = __package__) -> str:
    """The text of an .sql file of this room, or another."""
    return (files(room) / "sql" / file).read_text(encoding="utf-8")


def filled(sql: str, **names: str) -> str:
    """``sql`` with its placeholders replaced. (Not ``str.format``: SQL has braces of its own.)"""
    for name, value in names.items():
        sql = sql.replace("{" + name + "}", value)
    return sql


class Statements:
    """Named statements, with the names of one store filled in."""

    def __init__(self, named: Mapping[str, str], names: Mapping[str, str]) -> None:
        self._texts = {name: filled(sql, **names).strip() for name, sql in named.items()}

    def __getitem__(self, name: str) -> str:
        return self._texts[name]


def named_in(sql: str) -> dict[str, str]:
    """The statements of a text: each follows a line ``-- name: its_name``."""
    return dict(_NAMED.findall(sql))


def statements_of(schema: str, partitioned: bool) -> Statements:
    """All that the backend sends to one store."""
    names = {
        "columns": EVENT_COLUMNS,
        "stream_columns": STREAM_COLUMNS,
        "first_version": "{schema}.first_version_v1(head)",
        "now_us": NOW_US,
        **names_of(schema, partitioned),
    }
    return Statements(_named(), names)


def names_of(schema: str, partitioned: bool) -> dict[str, str]:
    """The placeholders that every file knows."""
    name = quoted(schema)
    return {
        "ids": f"{name}.{'event_ids' if partitioned else 'events'}",
        "events": f"{name}.events",
        "streams": f"{name}.streams",
        "key": "text",
        "schema": name,
    }


@cache
def _named() -> Mapping[str, str]:
    texts = [text_of(file) for file in ("statements.sql", "reading.sql", "keeping.sql")]
    return {name: sql for text in texts for name, sql in named_in(text).items()}
