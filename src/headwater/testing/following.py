"""A process that runs a consumer or a projection, to be killed: ``python -m headwater.testing.following URL --name …``.

As a consumer, it writes the place of each event to standard output, once it is handled. With ``--into``, it runs the
projection ``Effects`` into that database instead, and writes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from importlib.resources import files

import msgspec

import headwater
from headwater.events import Event
from headwater.projections import Projection, Projector, View, handles
from headwater.subscriptions import Every

__all__ = ["Effects", "Place", "main"]


class Place(msgspec.Struct, frozen=True):
    """An event that was handled."""

    stream: str | None
    version: int
    position: int


class Effects(Projection):
    """Counts the effects of each event, and where the events of a stream came out of order."""

    name = "effects"
    tables = (files("headwater.testing") / "effects.sql").read_text(encoding="utf-8")

    @handles()
    def happened(self, event: Event, view: View) -> None:
        """Take one event in."""
        view.execute(
            "insert into {effects} values (:position, 1) on conflict (position) do update "
            "set times = {effects}.times + 1",
            {"position": event.position},
        )
        view.execute(
            "insert into {streams} values (:stream, :version, :gap) on conflict (stream) do update "
            "set gaps = {streams}.gaps + (excluded.version <> {streams}.version + 1), version = excluded.version",
            {"stream": event.stream, "version": event.version, "gap": int(event.version != 1)},
        )


async def _consume(url: str, name: str, partitions: int, lease: float) -> None:
    encode = msgspec.json.Encoder().encode

    async def handler(event: Event) -> None:
        place = Place(event.stream, event.version, event.position)
        sys.stdout.buffer.write(encode(place) + b"\n")
        sys.stdout.buffer.flush()

    async with headwater.connect(url) as store:
        every = Every(events=50, seconds=0.1)
        await store.consumer(name, handler, partitions=partitions, lease=lease, checkpoint=every).run()


async def _project(url: str, into: str, partitions: int, lease: float) -> None:
    async with headwater.connect(url) as store, Projector(store, Effects(), into=into) as projector:
        await projector.run(partitions=partitions, batch=20, lease=lease)


def main() -> None:
    """Read the command line, and follow the store until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m headwater.testing.following", description=__doc__)
    parser.add_argument("url", help="the store")
    parser.add_argument("--name", default="billing", help="of the consumer")
    parser.add_argument("--into", help="URL of the projection's database")
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--lease", type=float, default=1.0, help="in seconds")
    given = parser.parse_args()
    if given.into:
        asyncio.run(_project(given.url, given.into, given.partitions, given.lease))
    else:
        asyncio.run(_consume(given.url, given.name, given.partitions, given.lease))


if __name__ == "__main__":
    main()
