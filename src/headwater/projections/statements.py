"""SQL as a projection writes it: ``:name`` for values and ``{table}`` for its tables, the same for every database.

Only names outside quoted texts, quoted identifiers and comments count, and ``::`` is a cast.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

__all__ = ["declared_tables", "filled", "pyformat", "split", "tables_in"]

_TOKEN = re.compile(
    r"""
      '(?:[^']|'')*'                        # a text
    | "(?:[^"]|"")*"                        # a quoted identifier
    | --[^\n]*                              # a comment
    | /\*.*?\*/
    | \$(?P<dollar>\w*)\$.*?\$(?P=dollar)\$ # PostgreSQL's other kind of text
    | ::
    | :(?P<value>[A-Za-z_]\w*)
    | \{(?P<table>[A-Za-z_]\w*)\}
    | (?P<end>;)
    """,
    re.VERBOSE | re.DOTALL,
)
_DECLARATION = re.compile(r"\bcreate\s+table\s+(?:if\s+not\s+exists\s+)?\Z", re.IGNORECASE)


def _replaced(sql: str, replace: Callable[[re.Match[str]], str | None], other: Callable[[str], str] = str) -> str:
    """The SQL with tokens replaced; ``other`` is applied to everything that was not."""
    parts, at = [], 0
    for token in _TOKEN.finditer(sql):
        new = replace(token)
        if new is not None:
            parts += [other(sql[at : token.start()]), new]
            at = token.end()
    return "".join([*parts, other(sql[at:])])


def filled(sql: str, tables: Mapping[str, str]) -> str:
    """The SQL with each ``{table}`` replaced. Raises ``KeyError`` where one is not among ``tables``."""
    return _replaced(sql, lambda token: tables[token["table"]] if token["table"] else None)


@lru_cache(maxsize=1024)
def pyformat(sql: str) -> str:
    """The SQL as psycopg takes it: ``%(name)s`` for ``:name``, and every other ``%`` doubled."""
    return _replaced(
        sql, lambda token: f"%({token['value']})s" if token["value"] else None, lambda text: text.replace("%", "%%")
    )


def tables_in(sql: str) -> frozenset[str]:
    """The names of the tables that stand in braces."""
    return frozenset(token["table"] for token in _TOKEN.finditer(sql) if token["table"])


def declared_tables(sql: str) -> tuple[str, ...]:
    """The tables that a script makes by ``create table {name}``, in order."""
    made = (token for token in _TOKEN.finditer(sql) if token["table"] and _DECLARATION.search(sql[: token.start()]))
    return tuple(dict.fromkeys(token["table"] for token in made))


def split(script: str) -> list[str]:
    """The single statements of a script."""
    ends = [token.start() for token in _TOKEN.finditer(script) if token["end"]]
    cuts = zip([0, *(end + 1 for end in ends)], [*ends, len(script)], strict=True)
    return [text for start, end in cuts if (text := script[start:end].strip())]
