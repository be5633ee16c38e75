"""``headwater consumers``: how far each durable consumer is, whether it got what it should, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from headwater.cli.arguments import AsJson, Consumer, Store
from headwater.cli.showing import json_line, printable, table
from headwater.cli.terminal import command, say

if TYPE_CHECKING:
    from headwater.subscriptions import Audit, ConsumerInfo

__all__ = ["consumers"]

consumers = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="See how far durable consumers, reactors and projections are; pause, rewind and audit them.",
)


async def list_command(url: Store, as_json: AsJson = False) -> None:
    """List the consumers: members that run, position, how far behind, rate, parked events, last error.

    `behind` is the distance to the head of the log, and for how long the oldest event has waited that is not handled.

    Example: `headwater consumers list sqlite:///demo/loans.db`
    """
    from headwater.lifecycle import open_existing

    async with open_existing(url) as store:
        found = await store.consumers.all()
    if as_json:
        for info in found:
            print(json_line(info))
        return
    columns = ("consumer", "kind", "members#", "position#", "behind#", "seconds#", "events/s#", "parked#")
    table(columns, [_row(info) for info in found])
    for info in found:
        if info.error:
            print(printable(f"{info.name}: last error at {info.error}"))


def _row(info: ConsumerInfo) -> tuple[object, ...]:
    return (
        info.name,
        f"{info.kind}, paused" if info.paused else info.kind,
        info.members,
        info.position,
        info.behind,
        f"{info.behind_seconds:,.1f}",
        f"{info.rate:,.1f}",
        info.parked,
    )


async def audit(
    url: Store,
    name: Annotated[str | None, typer.Argument(help="Only this consumer.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Compare what was delivered with the log: missed, doubled, reversed. The exit code is 1 where something was.

    Reads the log again, from where each consumer started or was last rewound to; others may go on meanwhile.

    Examples:

    * `headwater consumers audit sqlite:///demo/loans.db`
    * `headwater consumers audit sqlite:///demo/loans.db billing --json`
    """
    from headwater.errors import InvalidConsumer
    from headwater.lifecycle import open_existing

    audits: list[Audit] = []
    refused_names: list[str] = []
    async with open_existing(url) as store:
        for each in [name] if name else [info.name for info in await store.consumers.all()]:
            try:
                audits.append(await store.audit(each))
            except InvalidConsumer as refused:  # one that Python must audit: the others all the same
                say(f"headwater: {refused}")
                refused_names.append(each)
    if as_json:
        for done in audits:
            print(json_line(done))
    else:
        _show(audits, refused_names)
    if refused_names or not all(done.well for done in audits):
        raise typer.Exit(1)


def _show(audits: list[Audit], refused: list[str]) -> None:
    if not audits and not refused:
        print("There are no consumers.")
        return
    columns = ("consumer", "since#", "position#", "delivered#", "missed#", "doubled#", "reversed#", "parked#")
    table(columns, [msgspec.structs.astuple(each) for each in audits])
    bad = [each.consumer for each in audits if not each.well]
    for said, names in (("Not as it should be", bad), ("Not compared", refused)):
        if names:
            print(f"{said}: {', '.join(names)}.")
    if not bad and not refused:
        print("All is well: each event was delivered once, in order.")


async def pause(url: Store, name: Consumer) -> None:
    """Let no process handle anything for this consumer until `resume`.

    Example: `headwater consumers pause sqlite:///demo/loans.db billing`
    """
    from headwater.lifecycle import open_existing

    async with open_existing(url, writing=True) as store:
        await store.consumers.pause(name)
    print(f"{name} is paused: its members stop within a quarter of their lease.")


async def resume(url: Store, name: Consumer) -> None:
    """Go on after `pause`.

    Example: `headwater consumers resume sqlite:///demo/loans.db billing`
    """
    from headwater.lifecycle import open_existing

    async with open_existing(url, writing=True) as store:
        await store.consumers.resume(name)
    print(f"{name} goes on: its members notice within a quarter of their lease.")


async def rewind(
    url: Store,
    name: Consumer,
    to: Annotated[
        int, typer.Option("--to", min=0, metavar="POSITION", help="Go on behind this position.", show_default=False)
    ],
) -> None:
    """Go on behind a position, backwards or forwards: what comes after it is handled (again).

    A reactor does not react again to what it has handled, unless it runs with `rerun=True`.

    Example: `headwater consumers rewind sqlite:///demo/loans.db billing --to 0`
    """
    from headwater.lifecycle import open_existing

    async with open_existing(url, writing=True) as store:
        before = (await store.consumers.info(name)).position
        await store.consumers.rewind(name, to)
    print(f"{name} goes on behind position {to:,}; it was at {before:,}.")


async def drop(url: Store, name: Consumer) -> None:
    """Forget a consumer: its place, its account, its parked events. No event of the log is touched.

    Stop its members first; those that still run end with an error.

    Example: `headwater consumers drop sqlite:///demo/loans.db billing`
    """
    from headwater.lifecycle import open_existing

    async with open_existing(url, writing=True) as store:
        info = await store.consumers.info(name)
        await store.consumers.drop(name)
    print(f"{name} is dropped; it was at position {info.position:,}, with {info.parked:,} parked events.")


consumers.command("list")(command(list_command))
consumers.command("audit")(command(audit))
consumers.command("pause")(command(pause))
consumers.command("resume")(command(resume))
consumers.command("rewind")(command(rewind))
consumers.command("drop")(command(drop))
