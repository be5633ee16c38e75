"""``headwater import``: event logs and tables into a store."""

from __future__ import annotations

import enum
import time
from typing import Annotated

import typer

from headwater.cli.arguments import AsJson
from headwater.cli.showing import json_line
from headwater.cli.terminal import progress

__all__ = ["import_command"]


class FileFormat(enum.StrEnum):
    """What a file can be."""

    XES = "xes"
    CSV = "csv"
    JSONL = "jsonl"
    HEADWATER = "headwater"


_COLUMNS = "Columns (of a table) and attributes (of XES)"


async def import_command(
    file: Annotated[
        str, typer.Argument(help="XES, CSV or JSON Lines, plain or .gz; - for standard input.", show_default=False)
    ],
    into: Annotated[
        str | None,
        typer.Option("--into", metavar="URL", help="The store; made where it does not exist.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only read and check the file.")] = False,
    form: Annotated[
        FileFormat | None, typer.Option("--format", help="What the file is, where its content does not show it.")
    ] = None,
    category: Annotated[str, typer.Option(help="Of the streams: case 173688 becomes loan-173688.")] = "case",
    join: Annotated[bool, typer.Option("--join", help="Append also to streams that hold other events.")] = False,
    source: Annotated[
        str | None, typer.Option(help="Name of where the events come from; goes into their metadata and ids.")
    ] = None,
    stream_column: Annotated[str | None, typer.Option(help="Of the case.", rich_help_panel=_COLUMNS)] = None,
    type_column: Annotated[str | None, typer.Option(help="Of the event's type.", rich_help_panel=_COLUMNS)] = None,
    time_column: Annotated[str | None, typer.Option(help="Of when it happened.", rich_help_panel=_COLUMNS)] = None,
    time_format: Annotated[
        str | None, typer.Option(help="Such as '%d.%m.%Y %H:%M'; ISO 8601 otherwise.", rich_help_panel=_COLUMNS)
    ] = None,
    timezone: Annotated[
        str, typer.Option(help="Of times that say none, such as Europe/Amsterdam.", rich_help_panel=_COLUMNS)
    ] = "UTC",
    tag_column: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG=COLUMN", help="Tag events by a column; repeat for more.", rich_help_panel=_COLUMNS),
    ] = None,
    no_tags: Annotated[bool, typer.Option("--no-tags", help="No tag resource:…", rich_help_panel=_COLUMNS)] = False,
    delimiter: Annotated[str | None, typer.Option(help="Between CSV's columns.", rich_help_panel=_COLUMNS)] = None,
    as_json: AsJson = False,
) -> None:
    """Import events from a file, one stream per case.

    XES (IEEE 1849) says what its attributes mean. In CSV and JSON Lines, columns are found by their usual names
    (case_id, activity, timestamp, resource …) or given. What `headwater export` wrote comes in as it was.

    Import the same file as often as you like: what is there already is left alone, so an import that was interrupted
    goes on where it stopped.

    Examples:

    * `headwater import bpic2012.xes.gz --into sqlite:///loans.db --category loan`
    * `headwater import orders.csv --into sqlite:///s.db --category order --stream-column order_no --type-column step`
    * `headwater import tickets.jsonl --into sqlite:///help.db --category ticket --tag-column agent=handled_by`
    * `headwater import loans.jsonl.gz --into postgresql://localhost/loans`
    """
    from headwater.lifecycle import Mapping, Progress, import_file

    if (into is None) is not dry_run:
        raise typer.BadParameter("say where to: --into sqlite:///loans.db, or --dry-run to only check the file.")
    mapping = Mapping(
        category=category,
        stream_column=stream_column,
        type_column=type_column,
        time_column=time_column,
        tag_columns=() if no_tags else _tag_columns(tag_column),
        time_format=time_format,
        timezone=timezone,
        delimiter=delimiter,
        source=source,
    )
    started = time.monotonic()
    with progress("importing") as bar:

        def show(now: Progress) -> None:
            bar(now.bytes_read, now.bytes_total, f"{now.added:,} added, {now.present:,} there already")

        done = await import_file(
            file, into, mapping=mapping, form=None if form is None else form.value, join=join, on_progress=show
        )
    seconds = time.monotonic() - started
    if as_json:
        print(json_line({"added": done.added, "present": done.present, "streams": done.streams, "dry_run": dry_run}))
    elif dry_run:
        print(f"{done.events:,} events in {done.streams:,} streams can be imported. Nothing was written.")
    else:
        print(
            f"{done.added:,} events added, {done.present:,} were there already "
            f"({done.streams:,} streams in the file, {seconds:.1f} s)."
        )


def _tag_columns(given: list[str] | None) -> tuple[tuple[str, str], ...] | None:
    if not given:
        return None
    pairs = [text.partition("=") for text in given]
    for tag, _, column in pairs:
        if not tag or not column:
            raise typer.BadParameter("--tag-column is TAG=COLUMN, such as resource=org:resource.")
    return tuple((tag, column) for tag, _, column in pairs)
