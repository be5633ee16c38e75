"""``headwater verify``: are the promises kept in what is stored?"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from headwater.cli.arguments import AsJson, Store
from headwater.cli.showing import json_line, printable, table
from headwater.cli.terminal import progress

__all__ = ["verify"]


async def verify(
    url: Store,
    as_json: AsJson = False,
    mend: Annotated[
        bool, typer.Option("--repair", help="Mend a DynamoDB table that was restored, before it is checked.")
    ] = False,
) -> None:
    """Check a store: positions rise, versions have no holes, ids are unique, stream heads are right, data decodes.

    Reads everything once and changes nothing; others may go on appending. The exit code is 1 where something is found.

    With `--repair`, a table of DynamoDB that was restored to an earlier moment is first brought back to whole appends:
    a restore may hold parts of those that were under way. Let nobody else use it meanwhile. Nothing is destroyed.

    Example: `headwater verify sqlite:///demo/loans.db`
    """
    from headwater.lifecycle import open_existing, repair
    from headwater.lifecycle import verify as verify_store

    if mend:
        for sentence in await repair(url):
            print(printable(sentence), file=sys.stderr)
    with progress("verifying") as bar:
        async with open_existing(url) as store:
            verified = await verify_store(
                store, on_progress=lambda position, head: bar(position, head, f"{position:,} of {head:,}")
            )
    if as_json:
        print(json_line(verified))
    elif verified.found:
        rows = [(each.position or "", each.stream or "", each.kind, each.problem) for each in verified.findings]
        table(("position#", "stream", "what", "problem"), rows)
        print(f"{verified.found:,} findings in {verified.events:,} events of {verified.streams:,} streams.")
    else:
        print(
            f"All is well: {verified.events:,} events in {verified.streams:,} streams, "
            f"up to position {verified.head:,}."
        )
    if verified.found:
        raise typer.Exit(1)
