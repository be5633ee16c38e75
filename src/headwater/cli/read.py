"""``headwater read``: one stream."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from headwater.cli.arguments import AsJson, Store
from headwater.cli.showing import event_line
from headwater.cli.terminal import say

__all__ = ["read"]


async def read(
    url: Store,
    stream: Annotated[str, typer.Argument(help="Its name, such as loan-173688.", show_default=False)],
    after: Annotated[int, typer.Option(min=0, help="Begin after this version.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many events.")] = None,
    backwards: Annotated[bool, typer.Option("--backwards", help="The last event first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the events of a stream in order.

    Each line: position, time (UTC), stream@version, type, [tags], data. With `--json`, one JSON object a line.

    Examples:

    * `headwater read sqlite:///demo/loans.db loan-173688`
    * `headwater read sqlite:///demo/loans.db loan-173688 --backwards --limit 1 --json`
    """
    from headwater.lifecycle import open_existing
    from headwater.lifecycle.archive import line_of

    found = False
    async with open_existing(url) as store:
        async for event in store.read(stream, after=after, limit=limit, backwards=backwards):
            found = True
            sys.stdout.write(line_of(event).decode() if as_json else event_line(event) + "\n")
        info = None if found else await store.stream(stream)
    if not found and info is None:
        say(f"headwater: there is no stream {stream!r}; headwater streams lists them")
        raise typer.Exit(1)
    if info is not None:
        say(f"stream {stream!r} has no events to show there ({info.state}, at version {info.version})")
