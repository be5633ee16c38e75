"""``headwater export``: events out of a store."""

from __future__ import annotations

import gzip
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import typer

from headwater.cli.arguments import Categories, Store, query_of
from headwater.cli.terminal import progress, say

__all__ = ["export_command"]


async def export_command(
    url: Store,
    to: Annotated[
        Path | None,
        typer.Option(help="The file to write; standard output where left out. Packed where it ends in .gz."),
    ] = None,
    category: Categories = None,
    stream: Annotated[list[str] | None, typer.Option("--stream", help="Only this stream; repeat for more.")] = None,
    after: Annotated[int, typer.Option(min=0, help="Only events after this position.")] = 0,
) -> None:
    """Write events as JSON Lines: one event a line, with its id, stream, version, tags, metadata and times.

    `headwater import` takes the file in again, into any store.

    Examples:

    * `headwater export sqlite:///demo/loans.db --to loans.jsonl.gz`
    * `headwater export sqlite:///demo/loans.db --stream loan-173688 | jq .type`
    """
    from headwater.lifecycle import export_events, open_existing

    query = query_of(categories=category, streams=stream)
    async with open_existing(url) as store:
        with ExitStack() as stack:
            partial = None if to is None else to.with_name(to.name + ".partial")
            file = _opened(partial, to, stack)
            bar = stack.enter_context(progress("exporting"))
            count = await export_events(
                store,
                file,
                query=query,
                after=after,
                on_progress=lambda position, head: bar(position, head, f"{position:,} of {head:,}"),
            )
        if to is not None and partial is not None:
            partial.replace(to)  # a file of this name is always a whole export
    say(f"exported {count:,} events" + (f" to {to}" if to else ""))


def _opened(partial: Path | None, to: Path | None, stack: ExitStack) -> BinaryIO:
    if partial is None or to is None:
        return sys.stdout.buffer
    raw = stack.enter_context(partial.open("wb"))
    if to.suffix != ".gz":
        return raw
    return cast(BinaryIO, stack.enter_context(gzip.GzipFile(to.stem, "wb", fileobj=raw, compresslevel=6)))
