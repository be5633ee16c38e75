"""``headwater doctor``: is the store, and what it stands on, in good health?"""

from __future__ import annotations

import typer

from headwater.cli.arguments import AsJson, Store
from headwater.cli.showing import json_line, printable, table

__all__ = ["doctor"]


async def doctor(url: Store, as_json: AsJson = False) -> None:
    """Look at the technology below a store: versions, settings, clocks, room, who holds readers up; and at consumers.

    Says what is wrong and what to do. The exit code is 1 where something is wrong. What is stored is checked by
    `headwater verify`.

    Example: `headwater doctor sqlite:///demo/loans.db`
    """
    from headwater.lifecycle import examined, open_existing

    async with open_existing(url) as store:
        found = await examined(store)
    if as_json:
        for each in found:
            print(json_line(each))
    else:
        table(("what", "", "finding"), [(each.subject, each.state, each.finding) for each in found])
        for each in found:
            if each.remedy:
                print(printable(f"{each.subject}: {each.remedy}"))
    if any(each.state == "wrong" for each in found):
        raise typer.Exit(1)
