"""Import: events of a file into a store, in the file's order, a batch a transaction.

An event's id says where it stands and what it is, so an import may be interrupted at any point and started again, by
anybody: what is there already is found and left alone. A stream's events must follow each other as in the file; where
the store holds others in their place, the import stops rather than mix two histories.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing

import msgspec

from headwater.connect import connect
from headwater.errors import DuplicateEvent, HeadwaterError, InvalidEvent, WrongExpectedVersion
from headwater.lifecycle import xes
from headwater.lifecycle.archive import stored_events
from headwater.lifecycle.files import EventFile, Format, InvalidFile, faults_in, opened
from headwater.lifecycle.mapping import Incoming, Logged, Mapper, Mapping
from headwater.lifecycle.tables import csv_rows, json_rows
from headwater.queries import ANY
from headwater.store import Append, EventStore

__all__ = ["BATCH_EVENTS", "ImportConflict", "Imported", "Progress", "import_file", "incoming_events"]

BATCH_EVENTS = 2_000
"""Events in one transaction: enough that its commit costs little, few enough to hold."""

BATCH_BYTES = 4_194_304
"""Bytes of data in one transaction, beyond which it ends early."""


class Imported(msgspec.Struct):
    """What an import did (or, as a rehearsal, would take in)."""

    added: int = 0
    """Events written."""
    present: int = 0
    """Events that were there already."""
    streams: int = 0
    """Streams that begin in the file."""

    @property
    def events(self) -> int:
        """Events read from the file."""
        return self.added + self.present


class Progress(msgspec.Struct, frozen=True):
    """How far an import has come."""

    bytes_read: int
    bytes_total: int | None
    """Size of the file; None where it is not known."""
    added: int
    present: int


class ImportConflict(HeadwaterError):
    """The store holds another history where the file's events should go.

    Attributes: ``file``, ``place`` of the event in the file, ``stream``, ``expected`` version and ``actual``.
    """

    def __init__(self, file: str, place: str, refused: WrongExpectedVersion) -> None:
        self.file = file
        self.place = place
        self.stream = refused.stream
        self.expected = refused.expected
        self.actual = refused.actual
        other = isinstance(self.expected, int) and self.actual >= self.expected
        found = f"is at version {self.actual}" if self.actual else "has no events"
        found += ", with other events than this file's" if other else ""
        super().__init__(
            f"{file}, {place}: it should follow version {self.expected} of stream {self.stream!r}, which {found}. "
            "To keep the two histories apart, import into another store or --category; "
            "to append the file's events after those that are there, give --join."
        )


def incoming_events(file: EventFile, mapping: Mapping, form: Format | None = None) -> Iterator[Incoming]:
    """The events of an open file, ready to be appended. Raises ``InvalidFile`` where it comes to a fault."""
    with faults_in(file.name):
        form = form or file.format()
        if form == "headwater":
            yield from stored_events(file)
        elif form == "xes":
            yield from _mapped(Mapper(file.name, mapping, xes.COLUMNS, cases_known=True), xes.logged_events(file))
        elif form == "csv":
            columns, rows = csv_rows(file, mapping.delimiter)
            mapper = Mapper(file.name, mapping, columns, cases_known=False)
            mapper.check_columns()
            yield from _mapped(mapper, rows)
        else:
            yield from _mapped_json(file, mapping)


def _mapped(mapper: Mapper, events: Iterable[Logged]) -> Iterator[Incoming]:
    return map(mapper.incoming, events)


def _mapped_json(file: EventFile, mapping: Mapping) -> Iterator[Incoming]:
    rows = json_rows(file)
    first = next(rows, None)
    if first is not None:
        mapper = Mapper(file.name, mapping, first.attributes, cases_known=False)
        yield mapper.incoming(first)
        yield from _mapped(mapper, rows)


async def import_file(
    path: str,
    url: str | None,
    *,
    mapping: Mapping | None = None,
    form: Format | None = None,
    join: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Imported:
    """Import the events of a file into the store at ``url``; without a URL, only read and check the file.

    Arguments:
        path: of an XES, CSV or JSON Lines file, plain or packed with gzip; ``-`` for standard input.
        url: of the store. It is opened, and made where it does not exist, once the file's first event is read.
        mapping: which columns mean what; by their usual names where left out.
        form: what the file is; found by its content where left out.
        join: append also to streams that hold other events than this file's.
        on_progress: called after each batch.

    Raises ``InvalidFile``, naming the line or the case; the batches before it are stored, and the same import goes
    on there when the file is corrected. ``ImportConflict`` where a stream holds other events.
    """
    with opened(path) as file, closing(_batches(incoming_events(file, mapping or Mapping(), form))) as batches:
        first = next(batches, None)
        if first is None:
            raise InvalidFile(file.name, None, "it holds no event", "Give a file with events in it.")
        imported = Imported()

        def count(batch: Sequence[_Run], added: int) -> None:
            imported.added += added
            imported.present += sum(len(run) for run in batch) - added
            imported.streams += sum(run[0].before == 0 and run[0].stream is not None for run in batch)
            if on_progress:
                on_progress(Progress(file.bytes_read, file.size, imported.added, imported.present))

        if url is None:
            for batch in _chained(first, batches):
                count(batch, sum(len(run) for run in batch))
            return imported
        async with connect(url) as store:
            writer = _Writer(store, file.name, join=join)
            await writer.write_all(_chained(first, batches), count)
        return imported


_Run = list[Incoming]
"""Events of one stream that follow each other."""


def _chained(first: list[_Run], batches: Iterable[list[_Run]]) -> Iterator[list[_Run]]:
    yield first
    yield from batches


def _batches(events: Iterable[Incoming]) -> Generator[list[_Run], None, None]:
    """Batches of runs, each stream once in a batch: so the log keeps the order of the file."""
    batch: dict[str | None, _Run] = {}
    last: str | None = None
    count = size = 0
    for event in events:
        stream = event.stream
        full = count >= BATCH_EVENTS or size >= BATCH_BYTES
        if full or (stream in batch and stream != last) or (stream == last and not _follows(batch, event)):
            if batch:
                yield list(batch.values())
            batch, count, size = {}, 0, 0
        batch.setdefault(stream, []).append(event)
        last = stream
        count += 1
        size += event.size
    if batch:
        yield list(batch.values())


def _follows(batch: dict[str | None, _Run], event: Incoming) -> bool:
    run = batch.get(event.stream)
    return not run or event.stream is None or event.before == run[-1].before + 1


class _Writer:
    """Appends batches, each as large as the store lets it be."""

    def __init__(self, store: EventStore, file: str, *, join: bool) -> None:
        self._store = store
        self._file = file
        self._join = join

    async def write_all(self, batches: Iterable[list[_Run]], count: Callable[[Sequence[_Run], int], None]) -> None:
        """Write the batches one after the other; the next is read from the file while one is being stored."""
        under_way: tuple[list[_Run], asyncio.Task[int]] | None = None
        try:
            for batch in batches:
                if under_way:
                    count(under_way[0], await under_way[1])
                under_way = batch, asyncio.ensure_future(self._write(batch))
                await asyncio.sleep(0)  # lets it start
        finally:
            if under_way:
                count(under_way[0], await under_way[1])

    async def _write(self, batch: Sequence[_Run]) -> int:
        """Store a batch at once; where some of it is there or refused, run by run, then event by event."""
        if len(batch) > 1 and self._store.capabilities.atomic_streams:
            try:
                return await self._append(batch)
            except (DuplicateEvent, InvalidEvent, WrongExpectedVersion):
                pass
        return sum([await self._write_run(run) for run in batch])

    async def _write_run(self, run: _Run) -> int:
        if len(run) > 1:
            try:
                return await self._append([run])
            except (DuplicateEvent, InvalidEvent, WrongExpectedVersion):
                pass
        return sum([await self._write_event(event) for event in run])

    async def _write_event(self, event: Incoming) -> int:
        try:
            return await self._append([[event]])
        except WrongExpectedVersion as refused:
            raise ImportConflict(self._file, event.place, refused) from None
        except InvalidEvent as error:
            raise InvalidFile(self._file, event.place, error.what, error.expected) from None
        except DuplicateEvent as error:
            raise InvalidFile(
                self._file,
                event.place,
                f"its event {event.event.id} is stored already, in another stream",
                "Is this export from the same store, with streams renamed? Import it into a new store.",
            ) from error

    async def _append(self, runs: Sequence[_Run]) -> int:
        """Append the runs, all or none. Returns how many events that added."""
        results = await self._store.append_all([self._append_of(run) for run in runs])
        return sum(len(run) for run, result in zip(runs, results, strict=True) if not result.duplicate)

    def _append_of(self, run: _Run) -> Append:
        expected = ANY if self._join or run[0].stream is None else run[0].before
        return Append(run[0].stream, [each.event for each in run], expected)
