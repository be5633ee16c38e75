"""The schema of a Marten application, for reading, for tests, and for databases that .NET will join later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from headwater.backends.marten.layout import sql_for
from headwater.backends.postgres.statements import filled, quoted
from headwater.backends.postgres.url import checked_schema
from headwater.errors import BadUrl, InvalidEvent

__all__ = ["Options", "compatible_sql"]

METADATA = ("causation", "correlation", "headers", "user_name")

_FILES = ("compatible.sql", "compatible_functions.sql")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The choices of a Marten application that shape its event schema."""

    schema: str = "public"
    identity: Literal["string", "guid"] = "guid"
    """What names a stream."""
    conjoined: bool = False
    """Whether tenants share the tables; each then has streams of its own."""
    metadata: tuple[str, ...] = ()
    """Of ``causation``, ``correlation``, ``headers`` and ``user_name``: which columns the events have."""
    version: Literal[8, 9] = 9
    """With the defaults of 8.37, or of 9.29. (One on 9 that restored the older defaults has something of both.)"""
    unique_ids: bool = False
    """Whether an index keeps event ids unique."""
    by_type: bool = False
    """Whether an index finds events by type."""


def compatible_sql(options: Options) -> str:
    """The SQL that makes such a schema, with its reasons as comments.

    Raises ``BadUrl`` for a name that can't be a schema of Marten's, and ``InvalidEvent`` for options that it has not.
    """
    schema = checked_schema(options.schema, "compatible_sql")
    if schema != schema.lower():
        raise BadUrl("compatible_sql", f"the schema name {schema!r} has capitals", "Marten makes all names lower case.")
    if unknown := sorted(set(options.metadata) - set(METADATA)):
        raise InvalidEvent(f"metadata is {unknown[0]!r}", f"Give any of {', '.join(METADATA)}.")
    names = {
        "schema": quoted(schema),
        "id": "uuid" if options.identity == "guid" else "varchar",
        "int": "bigint" if options.version == 9 else "int",
    }
    kinds = list(_kinds(options))
    return "\n\n".join(filled(sql_for(kinds, file), **names).strip() for file in _FILES) + "\n"


def _kinds(options: Options) -> Iterator[str]:
    """The words in brackets that such a store's lines may begin with."""
    yield "conjoined" if options.conjoined else "single"
    yield f"v{options.version}"
    yield from options.metadata
    if options.unique_ids:
        yield "unique_ids"
    if options.by_type:
        yield "by_type"
