"""``headwater scheduled``: appends for later, kept in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from headwater.cli.arguments import AsJson, Store
from headwater.cli.showing import json_line, moment, table
from headwater.cli.terminal import command, on_interrupt, say

if TYPE_CHECKING:
    from headwater.subscriptions import Scheduled

__all__ = ["scheduled"]

scheduled = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="See and cancel appends for later; append them when they are due.",
)


async def list_command(url: Store, as_json: AsJson = False) -> None:
    """List what is scheduled, in order of time; then what was refused when it was due, with the reason.

    Example: `headwater scheduled list sqlite:///demo/loans.db`
    """
    from headwater.lifecycle import open_existing

    rows: list[tuple[object, ...]] = []
    async with open_existing(url) as store:
        async for each in store.scheduled.all():
            if as_json:
                print(json_line(_facts(each)))
            else:
                rows.append((moment(each.due_at), each.id, each.stream or "", ", ".join(each.types), each.error))
    if not as_json:
        table(("due (UTC)", "id", "stream", "types", "refused"), rows)


def _facts(each: Scheduled) -> dict[str, object]:
    return {
        "id": each.id,
        "stream": each.stream,
        "due_at": each.due_at,
        "types": each.types,
        "taken": each.taken,
        "error": each.error,
    }


async def cancel(
    url: Store,
    id: Annotated[str, typer.Argument(metavar="ID", help="As list shows it.", show_default=False)],
) -> None:
    """Forget what is scheduled under an id, or was refused. The exit code is 1 where it is too late.

    Example: `headwater scheduled cancel sqlite:///demo/loans.db 0199f5d2-7c1a-7e11-9d3e-5f2a8c4b6d70`
    """
    from headwater.lifecycle import open_existing

    async with open_existing(url, writing=True) as store:
        cancelled = await store.scheduled.cancel(id)
    if not cancelled:
        say(f"headwater: nothing is scheduled under {id}, or it is being appended; headwater scheduled list shows all")
        raise typer.Exit(1)
    print(f"{id} is cancelled.")


async def run(
    url: Store,
    once: Annotated[bool, typer.Option("--once", help="Append what is due by now, then end.")] = False,
) -> None:
    """Append what is scheduled when it is due, until Ctrl-C. Run it in as many processes as you like.

    Examples:

    * `headwater scheduled run postgresql://db/loans`
    * `headwater scheduled run sqlite:///demo/loans.db --once`
    """
    from headwater.lifecycle import open_existing

    async with open_existing(url, writing=True) as store:
        if once:
            count = await store.scheduled.append_due()
            print(f"{count:,} scheduled append{' was' if count == 1 else 's were'} due.")
            return
        on_interrupt(store.scheduled.stop)
        say("appending what is due, until Ctrl-C")
        await store.scheduled.run()


scheduled.command("list")(command(list_command))
scheduled.command("cancel")(command(cancel))
scheduled.command("run")(command(run))
