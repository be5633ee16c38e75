"""The SQL of this room, for one application's tables."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache

from headwater.backends.marten.shape import Shape
from headwater.backends.marten.url import Target
from headwater.backends.postgres.schema import matching
from headwater.backends.postgres.statements import NOW_US, Statements, filled, named_in, quoted, text_of

__all__ = ["functions_for", "sql_for", "statements_for", "tables_for"]

_ONLY = re.compile(r"\[(\w+)\]")

_EVENT_COLUMNS = """e.position, e.name, CASE WHEN e.name IS NULL THEN 0 ELSE e.version END, uuid_send(e.id), e.type,
    coalesce(e.exact, e.bdata, convert_to(e.data::text, 'UTF8')),
    coalesce(e.exact_metadata, convert_to(nullif(e.metadata, '{}')::text, 'UTF8')), array_to_string(e.tags, E'\\n'),
    coalesce(e.content_type, CASE WHEN e.bdata IS NULL THEN 'application/json' ELSE 'application/octet-stream' END),
    e.recorded_us, e.occurred_us, e.exact IS NOT NULL OR e.bdata IS NOT NULL"""

_STREAM_COLUMNS = """head.shown, head.version, {first_version},
    head.created_us, head.last_us, head.state, head.truncate_before, head.max_age_us, head.max_count"""

_FIRST_VERSION = """{schema}.first_version_v1(head.name, head.version, head.hidden_through, head.truncate_before,
    head.max_age_us, head.max_count)"""


def sql_for(words: Iterable[str], file: str) -> str:
    """The text of an .sql file of this room. Lines in brackets stand for some shapes only: see ``words``."""
    kept = []
    words = set(words)
    for line in text_of(file, __package__).splitlines():
        only = _ONLY.match(line)
        if only is None:
            kept.append(line)
        elif only[1] in words:
            kept.append(line[only.end() :])
    return "\n".join(kept)


def statements_for(target: Target, shape: Shape) -> Statements:
    """All that the backend sends."""
    names = {
        "columns": _EVENT_COLUMNS,
        "stream_columns": _STREAM_COLUMNS,
        "first_version": _FIRST_VERSION,
        "now_us": NOW_US,
        **_names(target, shape),
    }
    return Statements(_named(), names)


def tables_for(target: Target, shape: Shape) -> list[str]:
    """What makes our own tables."""
    names = _names(target, shape)
    shared = [text_of(file) for file in ("keeping_1.sql", "records_2.sql")]
    return [filled(text, **names) for text in (text_of("own_1.sql", __package__), *shared)]


def functions_for(target: Target, shape: Shape) -> tuple[list[str], str]:
    """What makes our functions, which know the application's tables, and a digest of that."""
    names = _names(target, shape)
    shared = [filled(text_of(file), **names) for file in ("places_1.sql", "checks_1.sql")]
    own = [filled(sql_for(shape.words(), file), **names) for file in ("visible_1.sql", "append_1.sql")]
    functions = [*shared, *own, *matching(names)]
    return functions, hashlib.sha256("\n".join(functions).encode()).hexdigest()


def _names(target: Target, shape: Shape) -> dict[str, str]:
    """The placeholders that every file knows."""
    schema = quoted(target.server.schema)
    return {
        "events": sql_for(shape.words(), "events.sql"),
        "streams": sql_for(shape.words(), "streams.sql"),
        "ids": f"{schema}.beside",
        "key": shape.key,
        "tenant": _literal(target.tenant),
        "marten": quoted(target.marten),
        "schema": schema,
    }


def _literal(text: str) -> str:
    """The text as an SQL literal in which nothing is special to SQL, to placeholders or to the driver."""
    plain = [each if each.isascii() and (each.isalnum() or each in "*_-.") else f"\\+{ord(each):06x}" for each in text]
    return f"U&'{''.join(plain)}'"


@cache
def _named() -> Mapping[str, str]:
    shared = [text_of(file) for file in ("statements.sql", "reading.sql", "keeping.sql")]
    return {
        name: sql for text in (*shared, text_of("statements.sql", __package__)) for name, sql in named_in(text).items()
    }
