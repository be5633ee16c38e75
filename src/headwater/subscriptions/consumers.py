"""All consumers of a store, as their records say: how far they are, and what a person may ask of them."""

from __future__ import annotations

import msgspec

from headwater.backend import Backend, Record, RecordChange
from headwater.codecs import check_place
from headwater.errors import InvalidConsumer, InvalidQuery, StaleRecord
from headwater.events import now_us
from headwater.subscriptions.inbox import noted_events
from headwater.subscriptions.parking import parked_pages
from headwater.subscriptions.parts import restarted
from headwater.subscriptions.states import (
    About,
    PartState,
    about_name,
    checked_consumer,
    decoded,
    encoded,
    parked_name,
    part_name,
    prefix_of,
    query_of,
)

__all__ = ["ConsumerInfo", "Consumers"]

PAGE = 1_000


class ConsumerInfo(msgspec.Struct, frozen=True):
    """What is known of a consumer."""

    name: str
    kind: str
    paused: bool
    partitions: int
    position: int
    """Everything up to here is handled, in all parts."""
    behind: int
    """Positions between that and the head of the log, whether they match the consumer's query or not."""
    behind_seconds: float
    """How long ago the oldest event was recorded that waits to be handled; 0 where none does."""
    rate: float
    """Events a second that it handled lately."""
    members: int
    """Processes that run it."""
    parked: int
    error: str
    """Its last failure, '' where there was none."""


class Consumers:
    """The consumers of one store. From ``store.consumers``."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def all(self) -> list[ConsumerInfo]:
        """Every consumer by name."""
        return [await self.info(name) for name in await self._names()]

    async def info(self, name: str) -> ConsumerInfo:
        """What is known of one. ``InvalidConsumer`` where there is none of this name."""
        records = await self._load(name)
        about = await self._known(name)
        parts = _parts(name, records)
        position = min((state.progress.position for state in parts.values()), default=0)
        head = await self._backend.head()
        lease_us = max((state.lease_us for state in parts.values()), default=0)
        members = [each for each in records if each.name.startswith(f"{prefix_of(name)}members/")]
        errors = [state.error for state in parts.values() if state.error]
        return ConsumerInfo(
            name=name,
            kind=about.kind,
            paused=about.paused,
            partitions=about.partitions,
            position=position,
            behind=max(0, head - position),
            behind_seconds=await self._behind_seconds(about, position),
            rate=round(sum(state.rate for state in parts.values()), 1),
            members=sum(each.age_us <= lease_us for each in members),
            parked=sum([len(page) async for page in parked_pages(self._backend, name)]),
            error=errors[-1] if errors else "",
        )

    async def about(self, name: str) -> About | None:
        """What the consumer is; None where there is none of this name."""
        found = await self._about_record(name)
        return decoded(found, About) if found else None

    async def parts(self, name: str) -> dict[int, PartState]:
        """The state of each part, by number."""
        return _parts(name, await self._load(name))

    async def pause(self, name: str) -> None:
        """Let no member handle anything until ``resume``."""
        await self._set_paused(name, paused=True)

    async def resume(self, name: str) -> None:
        """Go on after ``pause``."""
        await self._set_paused(name, paused=False)

    async def rewind(self, name: str, position: int) -> None:
        """Let every part go on behind this position. Whoever holds it is fenced off, and takes it up anew.

        Parked events that come again are parked no more, except those of a reactor: they come again only if replayed.
        ``InvalidQuery`` for a position that the log has not come to, ``InvalidConsumer`` for a projection, which keeps
        its own place.
        """
        check_place("position", position)
        about = await self._known(name)
        if about.kind == "projection":
            raise InvalidConsumer(
                name, "keeps its place beside its rows", "Build another version of it: headwater projections rebuild."
            )
        if position > (head := await self._backend.head()):
            raise InvalidQuery(f"position {position} is beyond the log's end, {head}", "Give one that the log has.")
        for number in range(about.partitions):
            while True:
                records = await self._backend.load_records(part_name(name, number))
                if not records:
                    raise InvalidConsumer(name, "was dropped meanwhile", "Start it again where that was not meant.")
                record = records[0]
                state = decoded(record, PartState)
                noted = await noted_events(self._backend, name, number)
                fresh = PartState(restarted(position), furthest=max(state.furthest, *noted.values(), 0))
                forgotten = [RecordChange(each, None) for each in noted]
                if about.kind == "consumer":
                    forgotten += [
                        RecordChange(each, None) for each in await self._parked_behind(name, number, position)
                    ]
                try:
                    await self._backend.save_records(
                        [RecordChange(record.name, encoded(fresh), record.revision), *forgotten]
                    )
                    break
                except StaleRecord:  # it kept a checkpoint just now
                    continue

    async def _parked_behind(self, name: str, part: int, position: int) -> list[str]:
        """The names of the records of a part's events behind this position that are parked."""
        pages = parked_pages(self._backend, name)
        parked = [each async for page in pages for each, _ in page]
        return [parked_name(name, each.position) for each in parked if each.part == part and each.position > position]

    async def drop(self, name: str) -> None:
        """Forget the consumer and its parked events. Members that still run it end with ``InvalidConsumer``."""
        await self._known(name)
        while records := await self._load(name):
            for record in records:
                await self._backend.save_records([RecordChange(record.name, None)])
        async for page in parked_pages(self._backend, name):
            for parked, _ in page:
                await self._backend.save_records([RecordChange(parked_name(name, parked.position), None)])
        for noted in await noted_events(self._backend, name):
            await self._backend.save_records([RecordChange(noted, None)])

    async def _names(self) -> list[str]:
        names: list[str] = []
        after = ""
        while records := await self._backend.load_records("consumers/", after, PAGE):
            names += [each.name.split("/")[1] for each in records if each.name.endswith("/about")]
            after = records[-1].name
        return names

    async def _load(self, name: str) -> list[Record]:
        return await self._backend.load_records(prefix_of(checked_consumer(name)))

    async def _about_record(self, name: str) -> Record | None:
        wanted = about_name(checked_consumer(name))
        return next((each for each in await self._backend.load_records(wanted, limit=1) if each.name == wanted), None)

    async def _known(self, name: str) -> About:
        about = await self.about(name)
        if about is None:
            raise InvalidConsumer(name, "does not exist in this store", "See which do: headwater consumers list.")
        return about

    async def _set_paused(self, name: str, *, paused: bool) -> None:
        while True:
            about = await self._known(name)
            record = await self._about_record(name)
            assert record is not None
            value = encoded(msgspec.structs.replace(about, paused=paused))
            try:
                await self._backend.save_records([RecordChange(record.name, value, record.revision)])
                return
            except StaleRecord:
                continue

    async def _behind_seconds(self, about: About, position: int) -> float:
        page = await self._backend.read_all(query_of(about.query), position, None, 1, False)
        return max(0, now_us() - page.events[0].recorded_us) / 1e6 if page.events else 0.0


def _parts(name: str, records: list[Record]) -> dict[int, PartState]:
    prefix = f"{prefix_of(name)}parts/"
    return {
        int(each.name.removeprefix(prefix)): decoded(each, PartState)
        for each in records
        if each.name.startswith(prefix)
    }
