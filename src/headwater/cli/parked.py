"""``headwater parked``: events that a consumer could not handle, to be looked at, tried again, or given up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from headwater.cli.arguments import AsJson, Consumer, Store
from headwater.cli.showing import event_line, json_line, moment, printable, table
from headwater.cli.terminal import command
from headwater.events import datetime_of

if TYPE_CHECKING:
    from headwater.store import EventStore
    from headwater.subscriptions import Parked, ParkedEvents

__all__ = ["parked"]

ERROR_SHOWN = 60
"""Characters of an error in a table; ``show`` and ``--json`` have all of it."""

parked = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Look at events that a consumer could not handle; try them again, or give them up.",
)

Position = Annotated[int, typer.Argument(min=1, help="The event's position in the log.", show_default=False)]
Which = Annotated[int | None, typer.Argument(min=1, metavar="POSITION", help="Only this event.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="All parked events of the consumer.")]


async def list_command(
    url: Store,
    name: Annotated[str | None, typer.Argument(help="Only of this consumer.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """List parked events in order of position, each with its last error.

    Examples:

    * `headwater parked list sqlite:///demo/loans.db`
    * `headwater parked list sqlite:///demo/loans.db billing --json`
    """
    from headwater.lifecycle import open_existing

    rows: list[tuple[object, ...]] = []
    async with open_existing(url) as store:
        for consumer in [name] if name else [info.name for info in await store.consumers.all()]:
            async for each in (await _parked(store, consumer)).all():
                if as_json:
                    print(json_line(_facts(consumer, each)))
                else:
                    rows.append((consumer, each.position, each.stream or "", each.type, each.attempts, _shown(each)))
    if not as_json:
        table(("consumer", "position#", "stream", "type", "attempts#", "error"), rows)


def _shown(each: Parked) -> str:
    error = each.error if len(each.error) <= ERROR_SHOWN else each.error[: ERROR_SHOWN - 1] + "…"
    return f"(to be tried again) {error}" if each.replay else error


def _facts(consumer: str, each: Parked) -> dict[str, object]:
    facts = msgspec.structs.asdict(each)
    return {"consumer": consumer} | facts | {"parked_at": datetime_of(facts.pop("parked_us"))}


async def show(url: Store, name: Consumer, position: Position, as_json: AsJson = False) -> None:
    """Show a parked event: the event itself, why and how often it failed.

    Example: `headwater parked show sqlite:///demo/loans.db billing 1742`
    """
    from headwater.errors import InvalidConsumer
    from headwater.lifecycle import open_existing
    from headwater.lifecycle.archive import line_of

    async with open_existing(url) as store:
        found = [each async for each in (await _parked(store, name)).all() if each.position == position]
        if not found:
            raise InvalidConsumer(
                name, f"has no parked event at position {position}", "See them: headwater parked list."
            )
        event = await store.event(found[0].id)
    facts = _facts(name, found[0])
    if as_json:
        print(json_line(facts | {"event": None if event is None else msgspec.Raw(line_of(event).strip())}))
        return
    if event is not None:
        print(event_line(event))
    print(f"id        {found[0].id}")
    print(printable(f"key       {found[0].key}"))
    print(f"parked    {moment(datetime_of(found[0].parked_us))} after {found[0].attempts} attempts")
    print(printable(f"error     {found[0].error}"))
    if found[0].replay:
        print("          somebody asked for another attempt")


async def replay(url: Store, name: Consumer, position: Which = None, everything: All = False) -> None:
    """Ask for a parked event (or all) to be tried again, by whatever process runs the consumer.

    Examples:

    * `headwater parked replay sqlite:///demo/loans.db billing 1742`
    * `headwater parked replay sqlite:///demo/loans.db billing --all`
    """
    from headwater.lifecycle import open_existing

    _check(position, everything)
    async with open_existing(url, writing=True) as store:
        count = await (await _parked(store, name)).replay(position)
        members = (await store.consumers.info(name)).members
    when = "within seconds" if members else "once it runs: nobody runs it now"
    print(f"{_events(count)} of {name} will be tried again {when}.")


async def drop(url: Store, name: Consumer, position: Which = None, everything: All = False) -> None:
    """Give a parked event (or all) up: the consumer never handles it. The log keeps it.

    Examples:

    * `headwater parked drop sqlite:///demo/loans.db billing 1742`
    * `headwater parked drop sqlite:///demo/loans.db billing --all`
    """
    from headwater.lifecycle import open_existing

    _check(position, everything)
    async with open_existing(url, writing=True) as store:
        count = await (await _parked(store, name)).drop(position)
    print(f"{_events(count)} of {name} given up.")


def _check(position: int | None, everything: bool) -> None:
    if (position is None) != everything:
        raise typer.BadParameter("say which: a POSITION, or --all.")


async def _parked(store: EventStore, consumer: str) -> ParkedEvents:
    """Its parked events; ``InvalidConsumer`` where there is no such consumer."""
    await store.consumers.info(consumer)
    return store.parked(consumer)


def _events(count: int) -> str:
    return f"{count:,} parked event{'' if count == 1 else 's'}"


parked.command("list")(command(list_command))
parked.command("show")(command(show))
parked.command("replay")(command(replay))
parked.command("drop")(command(drop))
