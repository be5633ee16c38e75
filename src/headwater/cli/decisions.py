"""``headwater replay-decisions``: which commands of the past today's rule would decide differently."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from headwater.cli.arguments import AsJson, Store
from headwater.cli.rules import Codecs, Rule, commands_named, rule_named
from headwater.cli.showing import json_line, printable
from headwater.cli.terminal import progress
from headwater.cli.vaults import open_with_vault

if TYPE_CHECKING:
    from headwater.deciders import Redecided

__all__ = ["replay_decisions"]


async def replay_decisions(
    rule: Rule,
    url: Store,
    commands: Annotated[
        str | None,
        typer.Option(
            "--commands", help="Your Commands; where left out, the only ones in the rule's module.", show_default=False
        ),
    ] = None,
    codec: Codecs = None,
    category: Annotated[str | None, typer.Option("--category", help="Only streams of this category.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show at most so many that differ.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Decide every recorded command again, by today's rule. The exit code is 1 where one is decided differently.

    Needs events that were appended by a Repository with `commands=`. What was refused then, or led to nothing, is not
    there to be decided again.

    Example: `headwater replay-decisions loans.py:RULE sqlite:///loans.db --category loan`
    """
    from headwater.deciders import redecided

    decider, reader = rule_named(rule, codec)
    kept = commands_named(rule, commands)
    count = differing = streams = hidden = 0
    async with open_with_vault(url) as store:
        categories = await store.categories()
        total = sum(categories.values()) if category is None else categories.get(category)
        with progress("deciding") as bar:
            async for stream in store.streams(category=category):
                streams += 1
                hidden += stream.first_version > 1
                bar(streams, total, stream.name)
                async for each in redecided(store, reader, decider, kept, stream):
                    count += 1
                    if each.same:
                        continue
                    differing += 1
                    if differing <= limit:
                        print(json_line(each) if as_json else _told(each))
    if not as_json:
        more = f", the first {limit} shown" if differing > limit else ""
        print(f"{count:,} commands in {streams:,} streams decided again: {differing:,} differently{more}.")
        if hidden:
            print(f"{hidden:,} streams were passed over: a policy hides their beginning.")
    if differing:
        raise typer.Exit(1)


def _told(each: Redecided) -> str:
    today = [each.problem] if each.problem else each.today or ["nothing"]
    lines = [f"{each.stream}@{each.version}  {each.command}"]
    lines += [f"  - {line}" for line in each.recorded]
    lines += [f"  + {line}" for line in today]
    return "\n".join(printable(line) for line in lines)
