"""``headwater forget`` and ``headwater subjects``: the people whom events are about, and what remains of them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from headwater.cli.arguments import AsJson, Store
from headwater.cli.rules import codec_named
from headwater.cli.showing import json_line, moment, table
from headwater.cli.terminal import command, say
from headwater.cli.vaults import VAULT
from headwater.events import datetime_of

if TYPE_CHECKING:
    from headwater.backend import Subject
    from headwater.lifecycle import Remain

__all__ = ["forget", "subjects"]

subjects = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="See the people whom sealed data are about, and where data of one of them remain.",
)

Person = Annotated[str, typer.Argument(metavar="SUBJECT", help="The person's id.", show_default=False)]
Vault = Annotated[
    str,
    typer.Option(
        "--vault", envvar=VAULT, metavar="URL", help="Where the keys are, such as sqlite:///keys.db", show_default=False
    ),
]
PLACES_SHOWN = 20


async def forget(
    url: Store,
    subject: Person,
    vault: Vault,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Destroy a person's key, for good: all personal data sealed under it can't be read any more, in any copy.

    Events stay, with placeholders where the data were. Look at what remains with `headwater subjects where`.

    Example: `headwater forget sqlite:///loans.db 112 --vault sqlite:///keys.db`
    """
    from headwater.lifecycle import open_existing

    if not yes:
        typer.confirm(f"Destroy the key of {subject!r}? Nobody can undo this.", abort=True, err=True)
    async with open_existing(url, vault=vault) as store:
        done = await store.forget(subject)
    if as_json:
        facts = None if done is None else {"subject": subject, "forgotten_at": done.at, "remains": done.remains}
        print(json_line(facts))
    elif done is None:
        print(f"The vault never had a key of {subject}: nothing was ever sealed for this person.")
    else:
        print(f"The key of {subject} was destroyed at {moment(done.at)} UTC.")
        print("Processes that run may use it for 30 s more. Rebuild the read models that hold copies:")
        print(f"  headwater subjects where {url} {subject} --vault {vault}")
        if done.remains:
            say(f"note: {done.remains}.")


async def list_command(url: Store, vault: Vault, as_json: AsJson = False) -> None:
    """List everybody whom there is or was a key of.

    Example: `headwater subjects list sqlite:///loans.db --vault sqlite:///keys.db`
    """
    from headwater.lifecycle import open_existing

    rows = []
    async with open_existing(url, vault=vault) as store:
        async for each in store.subjects():
            if as_json:
                print(json_line({"subject": each.subject, "key": bool(each.key), "forgotten_at": _forgotten(each)}))
            else:
                made = datetime_of(each.made_us) if each.key else None
                rows.append((each.subject, moment(made), ", ".join(map(moment, _forgotten(each)))))
    if not as_json:
        table(("subject", "key made", "keys destroyed"), rows)


def _forgotten(subject: Subject) -> list[datetime]:
    return [datetime_of(at) for at in sorted(subject.forgotten.values())]


async def where(
    url: Store,
    subject: Person,
    vault: Vault,
    codec: Annotated[
        str | None,
        typer.Option("--codec", help="Your Codec, to find personal fields that are not sealed.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List where data of a person remain: in events, in snapshots, and with consumers that were given them.

    The exit code is 1 where something of them can still be read. `id` means that only the person's id stands there.

    Example: `headwater subjects where sqlite:///loans.db 112 --vault sqlite:///keys.db`
    """
    from headwater.lifecycle import open_existing, remains

    loaded = None if codec is None else codec_named(codec)
    async with open_existing(url, vault=vault) as store:
        known = await store.subject(subject)
    found: list[Remain] = []
    async with open_existing(url) as store:
        async for each in remains(store, subject, known, loaded):
            if as_json:
                print(json_line(each))
            found.append(each)
    if not as_json:
        _show(subject, known, found)
    if any(each.found in ("readable", "clear") for each in found):
        raise typer.Exit(1)


def _show(subject: str, known: Subject | None, found: list[Remain]) -> None:
    places: dict[tuple[str, str, str], list[Remain]] = {}
    for each in found:
        name = each.name if each.place != "event" else each.what
        places.setdefault((each.place, name, each.found), []).append(each)
    rows = [
        (place, name, state, len(group), _positions(group)) for (place, name, state), group in sorted(places.items())
    ]
    table(("place", "of", "state", "number#", "positions"), rows)
    if known is None:
        print(f"The vault never had a key of {subject}.")
    elif known.key:
        print(f"The vault has a key of {subject}, made at {moment(datetime_of(known.made_us))} UTC.")
    for at in _forgotten(known) if known is not None else []:
        print(f"A key of {subject} was destroyed at {moment(at)} UTC.")


def _positions(group: list[Remain]) -> str:
    shown = [f"{each.position}" for each in group[:PLACES_SHOWN] if each.position]
    return ", ".join(shown) + (" …" if len(group) > PLACES_SHOWN else "")


subjects.command("list")(command(list_command))
subjects.command("where")(command(where))
