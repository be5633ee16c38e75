"""``headwater projections``: read models, run, built anew beside the old ones, compared and switched."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli.arguments import AsJson, Store
from headwater.cli.loading import named
from headwater.cli.showing import json_line, table
from headwater.cli.terminal import command, on_interrupt, progress, say
from headwater.cli.vaults import open_with_vault

if TYPE_CHECKING:
    from headwater.projections import Building, Comparison, Projection, Projector
    from headwater.store import EventStore

__all__ = ["projections"]

projections = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Keep read models in SQL tables in step with the log; build new versions of them beside the old ones.",
)

Class = Annotated[
    str,
    typer.Argument(metavar="PROJECTION", help="Its class: package.module:Class, or file.py:Class.", show_default=False),
]
Into = Annotated[
    str,
    typer.Option(
        "--into", metavar="URL", help="The database of its tables: sqlite:///… or postgresql://….", show_default=False
    ),
]
Partitions = Annotated[int, typer.Option(min=1, help="Handle so many parts side by side.")]
Batch = Annotated[int, typer.Option(min=1, help="At most so many events in one transaction.")]


async def list_command(url: Store, into: Into, as_json: AsJson = False) -> None:
    """List the projections in a database: versions, which one serves, how far each is behind.

    Example: `headwater projections list sqlite:///demo/loans.db --into sqlite:///demo/times.db`
    """
    from headwater.lifecycle import open_existing
    from headwater.projections.bookkeeping import all_versions
    from headwater.projections.targets import open_target

    async with open_existing(url) as store:
        head, identity = await store.head(), store.identity
    target = open_target(into, make=False)
    try:
        versions = await asyncio.to_thread(all_versions, target)
    finally:
        target.close()
    facts = [
        {
            "projection": each.name,
            "version": each.version,
            "serving": each.serving,
            "position": each.position,
            "behind": max(0, head - each.position) if each.store == identity else None,
            "events": each.count,
            "partitions": each.parts,
            "tables": each.tables,
        }
        for each in versions
    ]
    if as_json:
        for fact in facts:
            print(json_line(fact))
        return
    rows = [
        (
            fact["projection"],
            fact["version"],
            "serves" if fact["serving"] else "",
            fact["position"],
            "(another store)" if fact["behind"] is None else fact["behind"],
            fact["events"],
            ", ".join(map(str, each.tables)),
        )
        for fact, each in zip(facts, versions, strict=True)
    ]
    table(("projection", "version#", "", "position#", "behind#", "events#", "tables"), rows)


async def run(
    projection: Class,
    url: Store,
    into: Into,
    partitions: Partitions = 1,
    batch: Batch = 1000,
    once: Annotated[bool, typer.Option("--once", help="Handle what is there, then end.")] = False,
) -> None:
    """Keep a projection's tables in step with the log, until Ctrl-C.

    Run it in as many processes as you like: each event has its effect once.

    Example: `headwater projections run shop.views:Balances postgresql://db/shop --into postgresql://db/shop?schema=views`
    """
    async with _opened(projection, url, into, writing=not once) as (store, projector):
        if once:
            with progress("handling") as bar:
                position = await projector.catch_up(batch=batch, on_progress=lambda now: _show(bar, now))
            say(f"{_title(projector)} is at position {position:,}")
            return
        on_interrupt(projector.stop)
        say(f"{_title(projector)} runs from position {await projector.position():,} of {await store.head():,}")
        await projector.run(partitions=partitions, batch=batch)
        say(f"{_title(projector)} stopped at position {await projector.position():,}")


async def rebuild(
    projection: Class,
    url: Store,
    into: Into,
    partitions: Partitions = 1,
    batch: Batch = 1000,
    fresh: Annotated[bool, typer.Option("--fresh", help="Drop what there is of this version, and begin anew.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build a version of a projection beside the one that serves. Interrupted, it goes on where it was.

    Give the class a higher `version` first. Then `compare`, and `switch`.

    Example: `headwater projections rebuild views.py:CaseTimes sqlite:///loans.db --into sqlite:///times.db`
    """
    async with _opened(projection, url, into) as (_, projector):
        with progress("building") as bar:
            position = await projector.rebuild(
                partitions=partitions, batch=batch, fresh=fresh, on_progress=lambda now: _show(bar, now)
            )
        versions = {each.version: each for each in await projector.versions()}
        mine = versions[projector.projection.version]
    if as_json:
        facts = {"projection": mine.name, "version": mine.version, "position": position, "events": mine.count}
        print(json_line(facts | {"serving": mine.serving}))
    else:
        print(f"{mine.name} version {mine.version} holds {mine.count:,} events, up to position {position:,}.")


async def compare(
    projection: Class,
    url: Store,
    into: Into,
    examples: Annotated[int, typer.Option(min=0, help="Show so many rows that differ, of each table.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Compare a version's rows with those of the version that serves. The exit code is 1 where some differ.

    Example: `headwater projections compare views.py:CaseTimes sqlite:///loans.db --into sqlite:///times.db`
    """
    async with _opened(projection, url, into, make=False) as (_, projector):
        comparison = await projector.compare(examples=examples)
    if as_json:
        print(json_line(comparison))
    else:
        _show_comparison(comparison)
    if not comparison.same:
        raise typer.Exit(1)


async def switch(
    projection: Class,
    url: Store,
    into: Into,
    force: Annotated[bool, typer.Option("--force", help="Switch even to a version that lags.")] = False,
) -> None:
    """Let readers see this version, in one transaction. The other one's tables stay: switch back with its class.

    Example: `headwater projections switch views.py:CaseTimes sqlite:///loans.db --into sqlite:///times.db`
    """
    async with _opened(projection, url, into, make=False) as (_, projector):
        before = await projector.switch(force=force)
        version = projector.projection.version
    if before == version:
        print(f"{projector.projection.name} version {version} served already.")
    else:
        print(f"{projector.projection.name} version {version} serves now; it was version {before}, which is kept.")


async def drop(
    projection: Annotated[
        str, typer.Argument(metavar="PROJECTION", help="Its name, or its class as for run.", show_default=False)
    ],
    url: Store,
    into: Into,
    version: Annotated[
        int | None, typer.Option(min=1, help="Which version; the class's own where left out.", show_default=False)
    ] = None,
) -> None:
    """Remove a version that does not serve, with its tables.

    Example: `headwater projections drop case_times sqlite:///loans.db --into sqlite:///times.db --version 1`
    """
    if ":" in projection:
        kind = _loaded(projection)
        name, version = kind.name, version or kind.version
    elif version is None:
        raise typer.BadParameter("say which version of it: --version 1.")
    else:
        name = projection
    from headwater.lifecycle import open_existing
    from headwater.projections.switching import drop_version
    from headwater.projections.targets import open_target

    target = open_target(into, make=False)
    try:
        async with open_existing(url, writing=True) as store:
            await drop_version(store, target, name, version)
    finally:
        target.close()
    print(f"{name} version {version} is dropped.")


def _show(bar: Any, now: Building) -> None:
    left = "" if now.seconds_left is None else f", {_duration(now.seconds_left)} left"
    bar(now.position, now.upto, f"{now.events:,} events{left}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60} min"
        if minutes >= 60
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )


def _show_comparison(comparison: Comparison) -> None:
    for side, version, position in (
        ("serves", comparison.old, comparison.position_old),
        ("other", comparison.new, comparison.position_new),
    ):
        print(f"{comparison.projection} version {version} ({side}) is at position {position:,}")
    rows = [
        (each.table, each.rows_old, each.rows_new, each.only_old, each.only_new, each.changed)
        for each in comparison.tables
    ]
    table(("table", *(f"{text}#" for text in ("rows before", "rows now", "only before", "only now", "changed"))), rows)
    for each in comparison.tables:
        for name, columns in (("before", each.columns_only_old), ("now", each.columns_only_new)):
            if columns:
                print(f"{each.table}: only {name} has {', '.join(columns)}; not compared")
        for difference in each.examples:
            print(f"{each.table} {json_line(difference)}")
    for name, tables in (("before", comparison.tables_only_old), ("now", comparison.tables_only_new)):
        if tables:
            print(f"only {name}: the tables {', '.join(tables)}")
    print("All rows are the same." if comparison.same else "Some rows differ.")


@contextlib.asynccontextmanager
async def _opened(
    projection: str, url: str, into: str, *, writing: bool = False, make: bool = True
) -> AsyncIterator[tuple[EventStore, Projector]]:
    from headwater.projections import Projector
    from headwater.projections.targets import open_target

    loaded = _loaded(projection)
    async with (
        open_with_vault(url, writing=writing) as store,
        Projector(store, loaded, into=open_target(into, make=make)) as projector,
    ):
        yield store, projector


def _title(projector: Projector) -> str:
    return f"{projector.projection.name} version {projector.projection.version}"


def _loaded(text: str) -> Projection:
    """The projection that ``module:Class`` or ``file.py:Class`` names."""
    from headwater.projections import Projection

    module, name = named(text, "class")
    kind = getattr(module, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Projection)):
        there = [
            key for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, Projection)
        ]
        known = f"It has: {', '.join(there)}." if there else "It has none."
        raise typer.BadParameter(f"{text.rpartition(':')[0]} has no projection {name!r}. {known}")
    return kind()


projections.command("list")(command(list_command))
projections.command("run")(command(run))
projections.command("rebuild")(command(rebuild))
projections.command("compare")(command(compare))
projections.command("switch")(command(switch))
projections.command("drop")(command(drop))
