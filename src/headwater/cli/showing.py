"""How stores, streams and events look on a terminal, as text and as JSON."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from headwater.backend import StreamInfo
from headwater.events import Event

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["COLUMNS", "console", "event_line", "json_line", "json_of_stream", "moment", "table"]

COLUMNS = 100
"""Width of what is shown where there is no terminal to say."""


def console() -> Console:
    """Standard output, at most as wide as reads well."""
    from rich.console import Console

    width = min(shutil.get_terminal_size().columns, 120) if sys.stdout.isatty() else COLUMNS
    return Console(width=width, highlight=False)


def table(columns: Iterable[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """A table of texts. Columns whose name ends in ``#`` hold numbers."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        shown.add_column(name.rstrip("#"), justify="right" if name.endswith("#") else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(f"{each:,}" if type(each) is int else printable(str(each))) for each in row))
    console().print(shown)


def printable(text: str) -> str:
    """The text without characters that would steer the terminal."""
    return text if text.isprintable() else "".join(each if each.isprintable() else "\ufffd" for each in text)


def moment(time: datetime | None) -> str:
    """A time in UTC, to the second."""
    return "" if time is None else f"{time:%Y-%m-%d %H:%M:%S}"


def event_line(event: Event) -> str:
    """An event on one line; cut to the width of the terminal where there is one."""
    stream = "(no stream)" if event.stream is None else f"{event.stream}@{event.version}"
    data = event.raw_data.decode("utf-8", "replace") if event.content_type.endswith("json") else event.content_type
    tags = f"  [{' '.join(event.tags)}]" if event.tags else ""
    when = moment(event.occurred_at or event.recorded_at)
    line = printable(f"{event.position:>9}  {when}  {stream:<16}  {event.type:<24}{tags}  {data}")
    if not sys.stdout.isatty():
        return line
    width = shutil.get_terminal_size().columns
    return line if len(line) <= width else line[: width - 1] + "…"


def json_line(value: Any) -> str:
    """A value as one line of JSON."""
    return msgspec.json.encode(value).decode()


def json_of_stream(info: StreamInfo) -> dict[str, Any]:
    """A stream as ``--json`` shows it."""
    policy = info.policy
    return {
        "name": info.name,
        "category": info.category,
        "version": info.version,
        "first_version": info.first_version,
        "created_at": info.created_at,
        "last_at": info.last_at,
        "state": info.state,
        "truncate_before": policy.truncate_before,
        "max_age_seconds": None if policy.max_age is None else policy.max_age.total_seconds(),
        "max_count": policy.max_count,
    }
