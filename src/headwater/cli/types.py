"""``headwater types``: what shapes of events are really stored, and whether the code can read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from headwater.cli.arguments import AsJson, Categories, Store, query_of
from headwater.cli.rules import codec_named
from headwater.cli.showing import json_line, table
from headwater.cli.terminal import command, progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from headwater.events import Event
    from headwater.store import EventStore
    from headwater.typed import Codec, StoredShape

__all__ = ["types"]

types = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="See every type, version and shape of event that is stored, and check that your code can read them.",
)

CodecName = Annotated[
    str,
    typer.Argument(metavar="CODEC", help="Your Codec: package.module:name, or file.py:name.", show_default=False),
]


async def list_command(url: Store, category: Categories = None, as_json: AsJson = False) -> None:
    """List each type, version and shape with its number of events and where the first one is. Reads the whole log.

    Example: `headwater types list sqlite:///demo/loans.db`
    """
    shapes = await _shapes(url, category, None)
    if as_json:
        for each in shapes:
            print(json_line(each))
        return
    rows = [(each.type, each.version, each.count, each.position, each.shape) for each in shapes]
    table(("type", "version#", "events#", "first at#", "shape"), rows)


async def check(
    codec: CodecName,
    url: Store,
    category: Categories = None,
    ignore_unknown: Annotated[
        bool, typer.Option("--ignore-unknown", help="Types without a class are no problem: other programs write them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read one event of every stored type, version and shape by your codec. The exit code is 1 where one can't be read.

    Run it in CI against a copy of what is really stored.

    Example: `headwater types check loans.py:codec sqlite:///loans.db`
    """
    loaded = codec_named(codec)
    shapes = await _shapes(url, category, loaded)
    failed = [each for each in shapes if each.problem and not (ignore_unknown and each.type not in loaded.types)]
    if as_json:
        for each in failed:
            print(json_line(each))
    elif failed:
        rows = [(each.type, each.version, each.count, each.position, each.problem) for each in failed]
        table(("type", "version#", "events#", "first at#", "can't be read"), rows)
    if not as_json:
        events, kinds = sum(each.count for each in shapes), len({(each.type, each.version) for each in shapes})
        print(
            f"{events:,} events of {kinds:,} types and versions, in {len(shapes):,} shapes: {len(failed):,} unreadable."
        )
    if failed:
        raise typer.Exit(1)


def schema(codec: CodecName) -> None:
    """Print the JSON Schema of every type's present version.

    Example: `headwater types schema loans.py:codec > events.schema.json`
    """
    print(json_line(codec_named(codec).json_schema()))


async def _shapes(url: str, category: list[str] | None, codec: Codec | None) -> list[StoredShape]:
    from headwater.lifecycle import open_existing
    from headwater.typed import stored_shapes

    async with open_existing(url) as store:
        return await stored_shapes(_shown(store, category), codec)


async def _shown(store: EventStore, category: list[str] | None) -> AsyncIterator[Event]:
    head = await store.head()
    with progress("reading") as bar:
        async for event in store.read_all(query=query_of(categories=category)):
            if event.position % 1_000 == 0:
                bar(event.position, head, f"position {event.position:,}")
            yield event


types.command("list")(command(list_command))
types.command("check")(command(check))
types.command("schema")(command(schema))
