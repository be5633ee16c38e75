"""``headwater streams``: the streams of a store."""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.cli.arguments import AsJson, Store
from headwater.cli.showing import json_line, json_of_stream, moment, table
from headwater.cli.terminal import say

__all__ = ["streams"]

SHOWN = 50
"""Streams in a table, where no limit is given."""


async def streams(
    url: Store,
    category: Annotated[str | None, typer.Option(help="Only of this category (`loan` of `loan-173688`).")] = None,
    prefix: Annotated[str | None, typer.Option(help="Only names that begin so.")] = None,
    after: Annotated[str, typer.Option(help="Begin after this name: to go on where the last list ended.")] = "",
    limit: Annotated[
        int | None, typer.Option(min=1, help=f"At most so many. A table shows {SHOWN} where this is not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List streams by name, with their versions and times.

    Examples:

    * `headwater streams sqlite:///demo/loans.db --limit 10`
    * `headwater streams sqlite:///demo/loans.db --prefix loan-1736 --json`
    """
    from headwater.lifecycle import open_existing

    most = limit or (None if as_json else SHOWN)
    rows: list[tuple[object, ...]] = []
    count = 0
    async with open_existing(url) as store:
        async for info in store.streams(category=category, prefix=prefix, after=after):
            if count == most:
                if limit is None:
                    say(f"More follow: --limit N shows more, --after {rows[-1][0]} goes on here.")
                break
            count += 1
            if as_json:
                print(json_line(json_of_stream(info)))
            else:
                rows.append((info.name, info.version, moment(info.created_at), moment(info.last_at), info.state))
    if not as_json:
        table(("stream", "version#", "first recorded", "last recorded", "state"), rows)
