"""All commands together. Each command's file imports what it needs when it runs, so that ``--help`` is quick."""

from __future__ import annotations

from typing import Annotated

import typer

import headwater
from headwater.cli.append import append
from headwater.cli.consumers import consumers
from headwater.cli.decisions import replay_decisions
from headwater.cli.demo import demo
from headwater.cli.doctor import doctor
from headwater.cli.exports import export_command
from headwater.cli.imports import import_command
from headwater.cli.info import info
from headwater.cli.log import log
from headwater.cli.parked import parked
from headwater.cli.projections import projections
from headwater.cli.read import read
from headwater.cli.relay import relay
from headwater.cli.scheduled import scheduled
from headwater.cli.schema import schema
from headwater.cli.serve import serve
from headwater.cli.state import history, state
from headwater.cli.streams import streams
from headwater.cli.subjects import forget, subjects
from headwater.cli.terminal import command
from headwater.cli.types import types
from headwater.cli.verify import verify
from headwater.cli.why import why

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"headwater {headwater.__version__}")
        raise typer.Exit


@app.callback()
def headwater_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Headwater, the event store for Python.

    A store is named by its URL: `sqlite:///loans.db` (a file here), `sqlite:////var/lib/loans.db` (an absolute path),
    `postgresql://user@localhost/database?schema=name`, `marten+postgresql://…`, `dynamodb://table?region=name` or
    `kafka://host:9092/name?index=file.db`. Start with `headwater demo`.
    """


app.command("demo")(command(demo))
app.command("import")(command(import_command))
app.command("export")(command(export_command))
app.command("info")(command(info))
app.command("streams")(command(streams))
app.command("read")(command(read))
app.command("log")(command(log))
app.command("append")(command(append))
app.command("schema")(command(schema))
app.command("verify")(command(verify))
app.command("doctor")(command(doctor))
app.command("state")(command(state))
app.command("history")(command(history))
app.command("why")(command(why))
app.command("replay-decisions")(command(replay_decisions))
app.command("relay")(command(relay))
app.command("serve")(command(serve))
app.command("forget")(command(forget))
app.add_typer(projections, name="projections")
app.add_typer(types, name="types")
app.add_typer(subjects, name="subjects")
app.add_typer(consumers, name="consumers")
app.add_typer(parked, name="parked")
app.add_typer(scheduled, name="scheduled")
