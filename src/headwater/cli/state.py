"""``headwater state`` and ``headwater history``: what a stream means, as of any moment, by your own rule."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from headwater.cli.arguments import AsJson, Store
from headwater.cli.rules import Codecs, Rule, rule_named
from headwater.cli.showing import event_line, json_line, moment
from headwater.cli.vaults import open_with_vault

if TYPE_CHECKING:
    from headwater.deciders import Decider
    from headwater.events import Event
    from headwater.store import EventStore

__all__ = ["history", "state"]

Stream = Annotated[str, typer.Argument(help="The stream.", show_default=False)]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="TIME|POSITION",
        help="As it was known then: only events recorded by this time (ISO 8601, UTC where it names no zone), or up to "
        "this position.",
    ),
]
Occurred = Annotated[
    str | None,
    typer.Option(
        "--occurred-by", metavar="TIME", help="As it was in the world then: only events that happened by this time."
    ),
]


async def state(
    rule: Rule,
    url: Store,
    stream: Stream,
    at: At = None,
    occurred_by: Occurred = None,
    codec: Codecs = None,
) -> None:
    """Print a stream's state, now or at an earlier moment, as JSON.

    Two clocks: `--at` is about what the store knew then, `--occurred-by` about what had happened then; together, what
    was known at one time of another.

    Examples:

    * `headwater state loans.py:RULE sqlite:///loans.db loan-173688`
    * `headwater state loans.py:RULE sqlite:///loans.db loan-173688 --at 2026-11-01T12:00`
    """
    decider, reader = rule_named(rule, codec)
    current, version = decider.initial(), 0
    async with open_with_vault(url) as store:
        async for event, body in reader.read(_chosen(store, stream, at, occurred_by)):
            current, version = decider.evolve(current, body), event.version
    print(json_line({"stream": stream, "version": version, "state": decider.dump(current)}))


async def history(
    rule: Rule,
    url: Store,
    stream: Stream,
    at: At = None,
    occurred_by: Occurred = None,
    codec: Codecs = None,
    as_json: AsJson = False,
) -> None:
    """Show each event of a stream with what it changed in the state.

    Example: `headwater history loans.py:RULE sqlite:///loans.db loan-173688`
    """
    decider, reader = rule_named(rule, codec)
    current = decider.initial()
    before = _fields(decider, current)
    async with open_with_vault(url) as store:
        async for event, body in reader.read(_chosen(store, stream, at, occurred_by)):
            current = decider.evolve(current, body)
            after = _fields(decider, current)
            changed = {name: after.get(name) for name in {**before, **after} if before.get(name) != after.get(name)}
            if as_json:
                print(
                    json_line(
                        {"version": event.version, "type": event.type, "at": event.recorded_at, "changed": changed}
                    )
                )
            else:
                print(event_line(event))
                for name, value in changed.items():
                    print(f"           {name}: {json_line(before.get(name))} -> {json_line(value)}")
            before = after


def _fields(decider: Decider[Any, Any], state: Any) -> dict[str, Any]:
    dumped = msgspec.json.decode(msgspec.json.encode(decider.dump(state)))
    return dumped if isinstance(dumped, dict) else {"state": dumped}


async def _chosen(store: EventStore, stream: str, at: str | None, occurred_by: str | None) -> AsyncIterator[Event]:
    position = int(at) if at is not None and at.isdecimal() else None
    recorded = None if at is None or position is not None else _moment(at)
    occurred = None if occurred_by is None else _moment(occurred_by)
    async for event in store.read(stream):
        if (position is not None and event.position > position) or (recorded and event.recorded_at > recorded):
            return
        if occurred is None or (event.occurred_at or event.recorded_at) <= occurred:
            yield event


def _moment(text: str) -> datetime:
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time: write it as {moment(datetime.now(UTC))!r}.") from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)
