"""``headwater append``: one event."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from headwater.cli.arguments import AsJson, Store
from headwater.cli.showing import json_line

__all__ = ["append"]

_EXPECTED = {"any": "ANY", "no-stream": "NO_STREAM", "exists": "STREAM_EXISTS"}


async def append(
    url: Store,
    stream: Annotated[str, typer.Argument(help="Its name, such as loan-173688.", show_default=False)],
    type: Annotated[str, typer.Option("--type", help="What happened, in the past tense.", show_default=False)],
    data: Annotated[str, typer.Option(help="The event's data as JSON; - reads it from standard input.")] = "{}",
    tag: Annotated[list[str] | None, typer.Option("--tag", help="A tag such as clerk:112; repeat for more.")] = None,
    metadata: Annotated[str | None, typer.Option(help="A JSON object about the event: who, why.")] = None,
    expected: Annotated[
        str, typer.Option(help="What the stream must be at: any, no-stream, exists, or a version.")
    ] = "any",
    id: Annotated[str | None, typer.Option("--id", help="A UUID; the same id again stores nothing.")] = None,
    as_json: AsJson = False,
) -> None:
    """Append an event to a stream. The store is made where it does not exist.

    Examples:

    * `headwater append sqlite:///demo/loans.db loan-173688 --type CustomerCalled --data '{"minutes": 4}'`
    * `echo '{"amount": 20000}' | headwater append sqlite:///a.db loan-1 --type Requested --data - --expected no-stream`
    """
    import headwater

    event = headwater.NewEvent(
        type,
        _json("--data", sys.stdin.read() if data == "-" else data),
        id=id,
        metadata=None if metadata is None else _json("--metadata", metadata),
        tags=tag or (),
    )
    wanted = _expected(expected)
    async with headwater.connect(url) as store:
        done = await store.append(stream, event, expected=wanted)
    if as_json:
        facts = {"stream": stream, "version": done.version, "position": done.position}
        print(json_line(facts | {"id": str(event.id), "duplicate": done.duplicate}))
    elif done.duplicate:
        print(f"already stored: {stream} at version {done.version}, position {done.position}; nothing was written")
    else:
        print(f"appended: {stream} is at version {done.version}, position {done.position}, id {event.id}")


def _json(option: str, text: str) -> Any:
    import msgspec

    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise typer.BadParameter(f"{option} is not JSON: {error}") from None


def _expected(text: str) -> Any:
    from headwater.queries import Expected

    if text.lower() in _EXPECTED:
        return Expected[_EXPECTED[text.lower()]]
    if not text.isdecimal():
        raise typer.BadParameter(f"--expected is {text!r}: give any, no-stream, exists, or a version such as 26.")
    return int(text)
