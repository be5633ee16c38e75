"""``headwater verify``: are the promises kept in what is stored?"""

from __future__ import annotations

import typer

from headwater.cli.arguments import AsJson, Store
from headwater.cli.showing import json_line, table
from headwater.cli.terminal import progress

__all__ = ["verify"]


async def verify(url: Store, as_json: AsJson = False) -> None:
    """Check a store: positions rise, versions have no holes, ids are unique, stream heads are right, data decodes.

    Reads everything once and changes nothing; others may go on appending. The exit code is 1 where something is found.

    Example: `headwater verify sqlite:///demo/loans.db`
    """
    from headwater.lifecycle import open_existing
    from headwater.lifecycle import verify as verify_store

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
