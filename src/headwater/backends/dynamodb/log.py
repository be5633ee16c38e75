"""The log: pages of rows by position, in both directions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence

import msgspec

from headwater.backends.dynamodb.commits import Taken, read
from headwater.backends.dynamodb.keys import STRETCH, commit_key, stretch_of, z
from headwater.backends.dynamodb.requests import Item
from headwater.backends.dynamodb.rows import Row, decoded_rows
from headwater.backends.dynamodb.service import Service
from headwater.errors import CorruptStore
from headwater.events import Event

__all__ = ["Log", "Placed", "Spot"]


class Placed(msgspec.Struct, frozen=True):
    """A row, and the position of its first event."""

    position: int
    row: Row

    @property
    def last(self) -> int:
        """The position of its last event."""
        return self.position + self.row.count - 1


class Spot(msgspec.Struct, frozen=True):
    """An event of the log, before it is fetched."""

    position: int
    placed: Placed


class Log:
    """Reads the log. What is asked for must be settled: up to the last position that was given."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def rows(self, after: int, upto: int, limit: int | None = None) -> AsyncGenerator[Placed, None]:
        """The rows that hold positions with ``after < position <= upto``. ``limit``: pages fetched at a time."""
        start = after + 1
        while start <= upto:
            begun = start
            pages = self._service.query(stretch_of(start), z(start), z(upto), limit=limit)
            async for page in pages:
                if int(page["k"]) > start:
                    for placed in _overlapping(await self._covering(start), after, upto):
                        yield placed
                for placed in _overlapping(page, after, upto):
                    yield placed
                start = int(page["k"]) + page["n"]
            if start == begun:
                page = await self._covering(start)
                for placed in _overlapping(page, after, upto):
                    yield placed
                start = int(page["k"]) + page["n"]

    async def rows_backwards(self, after: int, upto: int, limit: int | None = None) -> AsyncGenerator[Placed, None]:
        """The same from the last to the first."""
        while upto > after:
            page = None
            pages = self._service.query(stretch_of(upto), z(0), z(upto), limit=limit, backwards=True)
            async for page in pages:
                for placed in _overlapping(page, after, upto)[::-1]:
                    yield placed
                if int(page["k"]) <= after + 1:
                    return
            if page is None:
                page = await self._covering(upto)
                for placed in _overlapping(page, after, upto)[::-1]:
                    yield placed
            upto = int(page["k"]) - 1

    async def rows_at(self, positions: Iterable[int]) -> AsyncGenerator[Spot, None]:
        """The events at these positions, given in either direction. One request for each page that holds some."""
        rows: list[Placed] = []
        for position in positions:
            if not (rows and rows[0].position <= position <= rows[-1].last):
                rows = _rows_of(await self._covering(position))
            placed = next(each for each in rows if each.position <= position <= each.last)
            yield Spot(position, placed)

    async def _covering(self, position: int) -> Item:
        """The page that holds a position."""
        stretches = [stretch_of(position)] + ([stretch_of(position - STRETCH)] if position >= STRETCH else [])
        for stretch in stretches:
            pages = self._service.query(stretch, z(0), z(position), limit=1, backwards=True)
            async for page in pages:
                if int(page["k"]) + page["n"] > position:
                    return page
                break
        raise CorruptStore(
            self._service.target.shown,
            f"the log has no page for position {position}",
            "Was the table restored? Restore it to another moment.",
        )

    async def events(self, spots: Sequence[Spot]) -> list[Event]:
        """The events themselves, in the order of the spots (which rises or falls)."""
        placed = {(spot.placed.row.partition, spot.placed.row.first): spot.placed for spot in spots}
        items = await self._service.get_many([commit_key(*commit) for commit in placed])
        wanted: dict[tuple[str, int], list[int]] = {}
        for spot in spots:
            row = spot.placed.row
            wanted.setdefault((row.partition, row.first), []).append(spot.position - spot.placed.position)
        taken = []
        for commit, ordinals in wanted.items():
            item = items.get(commit_key(*commit))
            if item is None:
                raise CorruptStore(
                    self._service.target.shown,
                    f"commit {commit[1]} of {commit[0]!r} stands in the log and is missing",
                    "Was the table restored? Restore it to another moment.",
                )
            taken.append(Taken(item, placed[commit].position, min(ordinals), max(ordinals)))
        found = {event.position: event for event in await read(self._service, taken)}
        return [found[spot.position] for spot in spots]


def _rows_of(page: Item) -> list[Placed]:
    position = int(page["k"])
    placed = []
    for row in decoded_rows(page["r"]):
        placed.append(Placed(position, row))
        position += row.count
    return placed


def _overlapping(page: Item, after: int, upto: int) -> list[Placed]:
    """Its rows that hold positions between the two."""
    return [placed for placed in _rows_of(page) if placed.last > after and placed.position <= upto]
