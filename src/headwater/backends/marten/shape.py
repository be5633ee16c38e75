"""What a Marten application's tables look like: recognised by looking, never assumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NoReturn

import msgspec

from headwater.errors import StoreUnavailable

__all__ = ["Shape", "recognised"]

_EVENTS = {"seq_id", "id", "stream_id", "version", "data", "type", "timestamp", "tenant_id", "mt_dotnet_type"} | {
    "is_archived"
}
_OPTIONAL = {
    "bdata": "bdata",
    "correlation_id": "correlation",
    "causation_id": "causation",
    "headers": "headers",
    "user_name": "user_name",
    "is_skipped": "is_skipped",
}
"""Columns of mt_events that an application may have, and what we call that."""
_STREAMS = {"id", "type", "version", "timestamp", "created", "tenant_id", "is_archived"}
_STREAMS_UNUSED = {"snapshot", "snapshot_version"}
"""Up to Marten 8. Never written."""


class Shape(msgspec.Struct, frozen=True):
    """The options of the application that its tables show."""

    identity: Literal["string", "guid"]
    conjoined: bool
    """Whether tenants share the tables."""
    options: frozenset[str]
    """Of ``bdata``, ``correlation``, ``causation``, ``headers``, ``user_name``, ``is_skipped``."""
    unique_ids: bool
    """Whether Marten keeps an index of event ids."""
    strict: bool
    """Whether stream ids stay taken when a stream is archived (``mt_streams_identity``)."""
    natural_keys: bool
    """Whether inline projections keep natural keys, which appends from outside do not."""
    quick_append: tuple[str, ...]
    """The names of the parameters of ``mt_quick_append_events``; empty where there is no such function."""

    @property
    def key(self) -> str:
        """The type of stream ids."""
        return "uuid" if self.identity == "guid" else "text"

    def words(self) -> Iterator[str]:
        """The words in brackets that lines of SQL for such tables begin with."""
        yield self.identity
        yield "conjoined" if self.conjoined else "single"
        yield from self.options
        if "bdata" not in self.options:
            yield "no_bdata"
        yield "trace" if self.options & {"correlation", "causation", "user_name"} else "no_trace"
        if self.unique_ids:
            yield "unique_ids"
        if self.strict:
            yield "strict_conjoined" if self.conjoined else "strict"
        if self.conjoined and self.identity == "guid":
            yield "guid_conjoined"

    def __str__(self) -> str:
        said = [f"streams named by {self.identity}", "tenants share the tables" if self.conjoined else "one tenant"]
        if metadata := sorted(self.options - {"bdata", "is_skipped"}):
            said.append(f"columns for {', '.join(metadata)}")
        said += ["binary payloads"] * ("bdata" in self.options) + ["skipped events"] * ("is_skipped" in self.options)
        said += ["ids indexed"] * self.unique_ids + ["strict identity"] * self.strict
        said += ["natural keys"] * self.natural_keys
        if self.quick_append:
            said.append(f"appends with {'application' if 'timestamps' in self.quick_append else 'database'} times")
        return "; ".join(said)


def recognised(looked: Mapping[str, Any], schema: str, shown: str) -> Shape:
    """The shape, from the facts that ``looking.sql`` found.

    Raises ``StoreUnavailable`` where there is no event store of Marten's, or one with something that is not understood.
    """
    tables: dict[str, str] = looked["tables"]
    events, streams = set(looked["event_columns"]), set(looked["stream_columns"])
    if "mt_events" not in tables or "mt_streams" not in tables:
        raise StoreUnavailable(
            f"{shown} has no event store of Marten's",
            "Name its schema (?schema=…), and let the .NET application make it first; `headwater schema marten` prints "
            "one that is compatible.",
            transient=False,
        )
    _refuse_strange(tables, events, streams, schema, shown)
    functions: dict[str, list[str] | None] = looked["functions"]
    if "mt_archive_stream" not in functions:
        _refuse(shown, f"the function {schema}.mt_archive_stream is missing", "Let the application apply its schema.")
    return Shape(
        identity="guid" if looked["event_columns"]["stream_id"] == "uuid" else "string",
        conjoined="tenant_id" in looked["stream_key"],
        options=frozenset(word for column, word in _OPTIONAL.items() if column in events),
        unique_ids=bool(looked["unique_ids"]),
        strict="mt_streams_identity" in tables,
        natural_keys=any(name.startswith("mt_natural_key_") for name in tables),
        quick_append=tuple(functions.get("mt_quick_append_events") or ()),
    )


def _refuse_strange(tables: dict[str, str], events: set[str], streams: set[str], schema: str, shown: str) -> None:
    for name in ("mt_events", "mt_streams"):
        if tables[name] != "r":
            _refuse(shown, f"{schema}.{name} is partitioned (by tenant, or by what is archived)", _NOT_YET)
    if tags := sorted(name for name in tables if name.startswith("mt_event_tag_") or name == "mt_dcb_tag_version"):
        _refuse(shown, f"it has tables for tags ({', '.join(tags)}), which every append has to keep", _NOT_YET)
    if "tags" in events:
        _refuse(shown, "its events have a column for tags, which every append has to keep", _NOT_YET)
    if missing := sorted((_EVENTS - events) | (_STREAMS - streams)):
        _refuse(shown, f"mt_events or mt_streams lack {', '.join(missing)}", "It takes the tables of Marten 8 or 9.")
    strange = sorted((events - _EVENTS - set(_OPTIONAL)) | (streams - _STREAMS - _STREAMS_UNUSED))
    if strange:
        _refuse(
            shown,
            f"mt_events or mt_streams have columns that this Headwater does not know: {', '.join(strange)}",
            "They may be of a newer Marten: upgrade headwater; nothing was changed.",
        )


_NOT_YET = "Such applications are not supported; nothing was changed."


def _refuse(shown: str, what: str, remedy: str) -> NoReturn:
    raise StoreUnavailable(f"{shown}: {what}", remedy, transient=False)
