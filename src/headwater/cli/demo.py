"""``headwater demo``: the main things a store does, on real data, in under a minute."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headwater.cli.showing import console, moment, table
from headwater.cli.terminal import progress

if TYPE_CHECKING:
    from headwater.lifecycle import Imported
    from headwater.store import EventStore

__all__ = ["demo"]

LOAN = "loan-173688"


async def demo(
    file: Annotated[
        Path | None,
        typer.Option(
            help="The event log; where left out, the full BPI Challenge 2012 log if it is here, else 100 cases of it."
        ),
    ] = None,
    into: Annotated[str, typer.Option("--into", metavar="URL", help="The store.")] = "sqlite:///demo/loans.db",
) -> None:
    """Import real loan applications, then read, query, append, and refuse what must be refused.

    The store stays, to try things on. Run it again: nothing is added twice.
    """
    import headwater
    from headwater.lifecycle import InvalidFile

    _make_folder(into)
    log = file or _log_file()
    _say(f"[bold]Headwater {headwater.__version__}[/bold]: loan applications at a Dutch bank, {log.name}")
    _scene("Import, one stream per application", f"headwater import {log.name} --into {into} --category loan")
    first = await _import(log, into)
    async with headwater.connect(into) as store:
        if await store.stream(LOAN) is None:
            raise InvalidFile(str(log), None, f"it has no {LOAN}", "The demo tells about the BPI Challenge 2012 log.")
        await _show_store(store)
        await _show_history(store)
        await _show_query(store)
        await _show_refusals(store)
        await _show_outcomes(store)
    if first.added:
        _scene("Import the same file again", "the same command")
        await _import(log, into)
    _show_next(into)


def _make_folder(url: str) -> None:
    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///").partition("?")[0]).parent.mkdir(parents=True, exist_ok=True)


def _log_file() -> Path:
    """The full log of a checkout, or the sample that is installed."""
    import headwater

    here = Path(headwater.__file__).parent
    full = Path("examples") / "data" / "bpic2012.xes.gz"
    places = (Path.cwd() / full, here.parents[1] / full, here / "lifecycle" / "sample" / "bpic2012-100.xes.gz")
    return next(place for place in places if place.is_file())


def _say(text: str) -> None:
    console().print(text)


def _scene(title: str, how: str) -> None:
    from rich.markup import escape

    _say(f"\n[bold cyan]{title}[/bold cyan]")
    _say(f"  [dim]{escape(how)}[/dim]\n")


async def _import(log: Path, into: str) -> Imported:
    from headwater.lifecycle import Mapping, Progress, import_file

    started = time.monotonic()
    with progress("  importing") as bar:

        def show(now: Progress) -> None:
            bar(now.bytes_read, now.bytes_total, f"{now.added:,} added, {now.present:,} there already")

        done = await import_file(str(log), into, mapping=Mapping(category="loan"), on_progress=show)
    seconds = time.monotonic() - started
    _say(
        f"  {done.added:,} events added, {done.present:,} were there already, in {done.streams:,} streams "
        f"({seconds:.1f} s, {done.events / seconds:,.0f} events/s)"
    )
    return done


async def _show_store(store: EventStore) -> None:
    _scene("What is there", "await store.head()   await store.categories()   store.streams()")
    categories = await store.categories()
    for name, count in categories.items():
        _say(f"  {await store.head():,} events in {count:,} streams of the category {name!r}")
    rows = []
    async for info in store.streams(category="loan"):
        rows.append((info.name, info.version, moment(info.last_at)))
        if len(rows) == 4:
            break
    table(("stream", "version#", "recorded (UTC)"), rows)


async def _show_history(store: EventStore) -> None:
    _scene("The history of one application", f'async for event in store.read("{LOAN}"): ...')
    rows = [
        (
            event.version,
            event.type,
            event.data.get("lifecycle:transition", ""),
            moment(event.occurred_at),
            *event.tags[:1],
        )
        async for event in store.read(LOAN, limit=12)
    ]
    table(("version#", "type", "transition", "happened (UTC)", "tag"), rows)
    if info := await store.stream(LOAN):
        _say(f"  … up to version {info.version}")


async def _show_query(store: EventStore) -> None:
    from headwater.queries import Query, QueryItem

    _scene(
        "A query over all streams: what did clerk 10629 approve?",
        'store.read_all(query=hw.Query([hw.QueryItem(types=["A_APPROVED"], tags=["resource:10629"])]))',
    )
    query = Query([QueryItem(types=["A_APPROVED"], tags=["resource:10629"])])
    started = time.monotonic()
    found = [event async for event in store.read_all(query=query)]
    milliseconds = 1000 * (time.monotonic() - started)
    table(
        ("position#", "stream", "version#", "happened (UTC)"),
        [(event.position, event.stream, event.version, moment(event.occurred_at)) for event in found[:4]],
    )
    _say(f"  {len(found):,} found in {milliseconds:.1f} ms")


async def _show_refusals(store: EventStore) -> None:
    from rich.markup import escape
    from rich.padding import Padding

    from headwater.errors import WrongExpectedVersion
    from headwater.events import NewEvent

    history = [event async for event in store.read(LOAN)]
    seen = history[-1].version - 1
    _scene("A writer who has not seen the latest event is refused", f'store.append("{LOAN}", [...], expected={seen})')
    try:
        await store.append(LOAN, [NewEvent("OfferWithdrawn", {"by": "10629"})], expected=seen)
    except WrongExpectedVersion as refused:
        console().print(Padding(f"[yellow]WrongExpectedVersion[/yellow]: {escape(str(refused))}", (0, 0, 0, 2)))
    last = history[-1]
    _scene("The same event again is a retry: nothing is written twice", f'store.append("{LOAN}", [the_same_event])')
    done = await store.append(LOAN, [NewEvent(last.type, last.data, id=last.id, tags=last.tags)])
    _say(
        f"  version {done.version}, position {done.position:,}, duplicate={done.duplicate}; head {await store.head():,}"
    )


async def _show_outcomes(store: EventStore) -> None:
    from headwater.cli.outcomes import LoanOutcomes

    _scene("A read model: what became of the applications?", "async for event in store.read_all(query=...): fold it")
    outcomes = LoanOutcomes()
    async for event in store.read_all(query=LoanOutcomes.query):
        outcomes.fold(event)
    kinds = ("approved", "declined", "cancelled", "open")
    rows = [(name, *(count[kind] for kind in kinds), count.total()) for name, count in outcomes.rows()]
    total: Counter[str] = sum((count for _, count in outcomes.rows()), Counter())
    rows.append(("all", *(total[kind] for kind in kinds), total.total()))
    table(("amount, euros", *(f"{kind}#" for kind in kinds), "all#"), rows)


def _show_next(url: str) -> None:
    program, store = _program(), shlex.quote(url)
    _say("\n[bold cyan]Try next[/bold cyan]\n")
    for command in (
        f"info {store}",
        f"streams {store} --limit 10",
        f"read {store} {LOAN}",
        f"log {store} --type A_APPROVED --tag resource:10629 --limit 5",
        f"append {store} {LOAN} --type CustomerCalled --data '{{\"minutes\": 4}}'",
        f"verify {store}",
        f"export {store} --stream {LOAN}",
        "schema sqlite",
    ):
        console().print(f"  {program} {command}", markup=False, soft_wrap=True)


def _program() -> str:
    """How this command can be called from here."""
    called = Path(sys.argv[0])
    found = shutil.which("headwater")
    if found and called.is_file() and os.path.samefile(found, called):
        return "headwater"
    try:
        return shlex.quote(str(called.absolute().relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(called))
