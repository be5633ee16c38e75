"""``headwater log``: the whole log, in order, and as it grows."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from headwater.cli.arguments import AsJson, Categories, Store, query_of
from headwater.cli.showing import event_line

__all__ = ["log"]


async def log(
    url: Store,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with events as they come, until Ctrl-C.")
    ] = False,
    after: Annotated[int, typer.Option(min=0, help="Begin after this position.")] = 0,
    type: Annotated[list[str] | None, typer.Option("--type", help="Only this type; repeat for one of several.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="Only with this tag; repeat for all of several.")
    ] = None,
    category: Categories = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many events.")] = None,
    backwards: Annotated[bool, typer.Option("--backwards", help="The last event first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the log: all events of all streams, in the order of their positions.

    Examples:

    * `headwater log sqlite:///demo/loans.db --type A_APPROVED --tag resource:10629 --limit 5`
    * `headwater log sqlite:///demo/loans.db --backwards --limit 10`
    * `headwater log sqlite:///demo/loans.db --follow --json | jq .type`
    """
    from headwater.lifecycle import open_existing
    from headwater.lifecycle.archive import line_of

    if follow and backwards:
        raise typer.BadParameter("--follow goes forwards: leave --backwards out.")
    query = query_of(type, tag, category)
    async with open_existing(url) as store:
        while True:
            head = await store.head()
            async for event in store.read_all(
                after=after, before=head + 1, query=query, limit=limit, backwards=backwards
            ):
                sys.stdout.write(line_of(event).decode() if as_json else event_line(event) + "\n")
                limit = None if limit is None else limit - 1
            if not follow or limit == 0:
                return
            sys.stdout.flush()
            after = max(after, head)
            await store.wait(after)
