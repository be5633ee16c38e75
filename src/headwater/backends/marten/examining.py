"""What can be wrong with a Marten application's store: the server, the tables, and who holds readers back."""

from __future__ import annotations

from headwater.backend import Examined
from headwater.backends.marten.shape import Shape
from headwater.backends.marten.url import Target
from headwater.backends.postgres.connections import Connections
from headwater.backends.postgres.examining import HELD_SECONDS, Examination
from headwater.backends.postgres.statements import Statements

__all__ = ["examined"]


async def examined(
    looking: Examination, connections: Connections, statements: Statements, target: Target, shape: Shape
) -> list[Examined]:
    """Everything, in a fixed order."""
    late = await connections.rows(statements["late"])
    holders = await connections.rows(statements["holders"])
    return [
        *await looking.server(),
        Examined("application", "well", str(shape)),
        _appends(target, shape),
        *[_holder(row) for row in holders if (row[3] or 0.0) > HELD_SECONDS],
        *([_late(row) for row in late] or [Examined("horizon", "well", "no event came below where readers had been")]),
        await looking.notifications(),
    ]


def _appends(target: Target, shape: Shape) -> Examined:
    if not (target.appends or target.append_aliases):
        return Examined("appends", "well", "none are allowed by this URL (append=)")
    what = "of any type" if target.appends else f"of {', '.join(sorted(target.append_aliases))}"
    if shape.natural_keys:
        return Examined(
            "appends",
            "wrong",
            f"those {what} are allowed, and the application has natural keys, which it keeps by an inline projection",
            "Append to no stream that has a natural key: the key would be missing, or stale.",
        )
    return Examined(
        "appends", "note", f"those {what} are allowed", "Let no inline projection of the application show these events."
    )


def _holder(row: tuple[int, str, str, float | None, str]) -> Examined:
    pid, name, state, seconds, query = row
    return Examined(
        "horizon",
        "note",
        f"process {pid} ({name or 'no name'}, {state}) has been writing for {seconds or 0.0:.0f} s: no reader passes a "
        f"number that is missing until it ends: {' '.join(query.split())}",
        f"Let it commit; or end it: select pg_terminate_backend({pid}).",
    )


def _late(row: tuple[int, str, str]) -> Examined:
    position, alias, stream = row
    return Examined(
        "horizon",
        "wrong",
        f"event {position} ({alias}, stream {stream}) was stored after readers had passed its number, and they have "
        "missed it: its writer stood still between drawing the number and beginning to write (EventAppendMode.Rich)",
        f"Rewind the consumers to {position - 1}, and give the URL a longer gap= than the application stands still.",
    )
