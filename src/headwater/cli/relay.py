"""``headwater relay``: committed events out to Kafka."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from headwater.cli.arguments import Categories, Store, query_of
from headwater.cli.terminal import on_interrupt, say

if TYPE_CHECKING:
    from headwater.relays import Relay

__all__ = ["relay"]

REPORT_SECONDS = 10.0


async def relay(
    url: Store,
    topic: Annotated[str, typer.Argument(metavar="KAFKA-URL", help="kafka://host:port/topic", show_default=False)],
    name: Annotated[str, typer.Option("--name", help="Of the relay: its place in the log is kept under it.")] = "relay",
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Only events of this type; repeat for more.")
    ] = None,
    category: Categories = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="Only with this tag; repeat: with all.")] = None,
    after: Annotated[int, typer.Option("--after", min=0, help="Where a new relay starts: behind this position.")] = 0,
    plain: Annotated[
        bool,
        typer.Option("--plain", help="At least once, for brokers without transactions."),
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Publish what is there, then end.")] = False,
) -> None:
    """Publish committed events to a Kafka topic, each exactly once, in the order of its stream, until Ctrl-C.

    The place in the log is kept in Kafka, in the transaction of the messages: whatever is killed, nothing is missing
    and nothing is there twice for consumers that read committed messages. Headers are those of CloudEvents, the key is
    the stream. Personal data stay sealed.

    Examples:

    * `headwater relay sqlite:///demo/loans.db kafka://localhost:9092/loans`
    * `headwater relay postgresql://db/loans 'kafka://k1:9092,k2:9092/loans?partitions=8' --category loan`
    """
    from headwater.lifecycle import open_existing
    from headwater.relays import KafkaPublisher, KafkaTopic, PlainKafkaPublisher, Relay

    kind = PlainKafkaPublisher if plain else KafkaPublisher
    async with open_existing(url, writing=plain) as store:
        publisher = kind(KafkaTopic.parse(topic), name)
        relaying = Relay(store, publisher, query=query_of(types, tags, category), after=after)
        on_interrupt(relaying.stop)
        reporting = asyncio.create_task(_report(relaying))
        try:
            await relaying.run(upto=await store.head() if once else None)
        finally:
            reporting.cancel()
    say(_line(relaying))


async def _report(relaying: Relay) -> None:
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        say(_line(relaying))


def _line(relaying: Relay) -> str:
    done = relaying.relayed
    return f"{done.events:,} events published, up to position {done.position:,}"
