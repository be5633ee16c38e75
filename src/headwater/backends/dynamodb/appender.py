"""Appends: check, stage what is too large, commit in one transaction, and make sense of every refusal."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from weakref import WeakValueDictionary

import msgspec

from headwater.appending import check_expected, first_result
from headwater.backend import Appended, Write
from headwater.backends.dynamodb.blobs import chunk_items
from headwater.backends.dynamodb.bodies import Batch, prepared
from headwater.backends.dynamodb.drafts import Draft, Staging, drafted, staging_of
from headwater.backends.dynamodb.faults import Lost, Overlapped
from headwater.backends.dynamodb.heads import Head, Heads, head_of
from headwater.backends.dynamodb.ids import Ids
from headwater.backends.dynamodb.keys import append_of
from headwater.backends.dynamodb.requests import Item
from headwater.backends.dynamodb.sequencer import Clash, Sequencer
from headwater.backends.dynamodb.service import Service, pause
from headwater.errors import AppendRefused, CorruptStore, HeadwaterError, OutcomeUnknown, StoreUnavailable

__all__ = ["Appender", "part_start"]

ATTEMPTS_MAX = 200
"""An append that others are always faster than is refused after so many."""
LOST_MAX = 3
"""Answers that are lost before the outcome is said to be unknown."""

Check = Callable[[Sequence[Write], int], Awaitable[None]]
"""Looks at the log up to a position: do the conditions of the writes hold?"""


def part_start(write: int, part: int) -> str:
    """Before the numbers of the chunks of a staged part, in the sort keys of its append."""
    return f"{write:03d}.{part:06d}."


class Appender:
    """Appends. Those of one process to the same stream wait for each other, as only one of them could succeed."""

    def __init__(
        self, service: Service, heads: Heads, sequencer: Sequencer, ids: Ids, check: Check, shards: int, *, wait: bool
    ) -> None:
        self._service = service
        self._heads = heads
        self._sequencer = sequencer
        self._ids = ids
        self._check = check
        self._shards = shards
        self._wait = wait  # for the position
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def append(self, writes: Sequence[Write]) -> list[Appended]:
        """See ``Backend.append``."""
        batch = prepared(writes)
        staging = staging_of(batch)
        streams = sorted({write.stream for write in writes if write.stream is not None})
        async with self._turn(streams):
            if not staging.any:
                return await self._try(batch, staging, streams)
            return await self._append_staged(batch, staging, streams)

    @asynccontextmanager
    async def _turn(self, streams: Sequence[str]) -> AsyncIterator[None]:
        async with AsyncExitStack() as held:
            for stream in streams:
                lock = self._turns.get(stream)
                if lock is None:
                    lock = self._turns[stream] = asyncio.Lock()
                await held.enter_async_context(lock)
            yield

    async def _append_staged(self, batch: Batch, staging: Staging, streams: Sequence[str]) -> list[Appended]:
        """Refuse what is bound to be refused, stage, and commit; and where that is refused, clean up."""
        heads = await self._heads.read(streams)
        refused = _refusal(batch.pieces[0].write, heads) if len(batch.pieces) == 1 else None
        if refused is not None:
            return await self._first_result(batch, refused)
        while True:
            committed = False
            try:
                await self._stage_parts(batch, staging)
                if staging.ids and not await self._ids.claim(batch.name, batch.ids):
                    await self._ids.give_up(batch.name)
                    stored = await self._ids.places(batch.ids)
                    if stored:
                        return first_result([piece.write for piece in batch.pieces], stored)
                    raise _GivenUp
                results = await self._try(batch, staging, streams)
                committed = not results[0].duplicate
                return results
            except _GivenUp:
                await pause(6)
            except OutcomeUnknown:
                committed = True  # for all that is known
                raise
            finally:
                if not committed:
                    with suppress(HeadwaterError):  # then it stays, unseen
                        await self._clean(batch, staging)
            batch = msgspec.structs.replace(batch, name=uuid.uuid4().hex)

    async def _stage_parts(self, batch: Batch, staging: Staging) -> None:
        items: list[Item] = []
        for number in sorted(staging.pieces):
            for place, part in enumerate(batch.pieces[number].parts):
                items += chunk_items(append_of(batch.name), part_start(number, place), part.body)
        await self._service.put_all(items)

    async def _clean(self, batch: Batch, staging: Staging) -> None:
        if not await self._ids.give_up(batch.name):
            return
        if staging.ids:
            await self._ids.release(batch.name, batch.ids)
        partition = append_of(batch.name)
        await self._service.delete_all(
            [
                (partition, item["k"])
                for number in staging.pieces
                for place, part in enumerate(batch.pieces[number].parts)
                for item in chunk_items(partition, part_start(number, place), part.body)
            ]
        )

    async def _try(self, batch: Batch, staging: Staging, streams: Sequence[str]) -> list[Appended]:
        """Commit, again and again while only others' appends are in the way."""
        writes = [piece.write for piece in batch.pieces]
        known = self._heads.known(streams)
        lost = 0
        for attempt in range(ATTEMPTS_MAX):
            heads = known if known is not None else await self._heads.read(streams)
            refused = next((each for write in writes if (each := _refusal(write, heads))), None)
            if refused is not None and known is not None:
                known = None  # what was remembered may be stale
                continue
            try:
                if refused is not None:
                    raise refused
                return await self._commit(batch, staging, heads)
            except AppendRefused as error:
                return await self._first_result(batch, error, sent=lost > 0)
            except Clash as clash:
                stored = await self._after_clash(batch, clash)
                if stored is not None:
                    return [msgspec.structs.replace(each, duplicate=not lost) for each in stored]
                known = self._heads.known(streams)
            except Overlapped:
                known = None
                await pause(attempt)
            except Lost as error:
                lost += 1
                stored = await self._after_loss(batch, error, last=lost == LOST_MAX)
                if stored is not None:
                    return stored
                known = None
        raise self._sequencer.unavailable()

    async def _commit(self, batch: Batch, staging: Staging, heads: dict[str, Head]) -> list[Appended]:
        writes = [piece.write for piece in batch.pieces]
        recorded_us = self._service.clock.now_us()

        def draft(position: int | None) -> Draft:
            return drafted(
                self._service.requests,
                batch,
                staging,
                heads,
                recorded_us=recorded_us,
                position=position,
                shards=self._shards,
            )

        async def check(position: int) -> None:
            await self._check(writes, position)

        if any(write.condition is not None for write in writes):
            made, position = await self._sequencer.directly(heads, draft, check)
            return self._done(batch, made, heads, position)
        if self._wait and self._sequencer.quiet:
            try:
                made, position = await self._sequencer.directly(heads, draft, None)
                return self._done(batch, made, heads, position)
            except Overlapped:
                pass
        made = draft(None)
        found = await self._sequencer.by_outbox(batch, made, recorded_us, wait=self._wait)
        if not self._wait:
            self._sequencer.left_something()
        return self._done(batch, made, heads, found)

    def _done(self, batch: Batch, draft: Draft, heads: dict[str, Head], position: int | None) -> list[Appended]:
        """The results, and the heads remembered. ``position``: of the last event before the append, where known."""
        results = []
        for piece, first in zip(batch.pieces, draft.firsts, strict=True):
            last = first + piece.count - 1
            stream = piece.write.stream
            if stream is not None:
                head = heads[stream]
                sequenced = last if position is not None else head.sequenced
                self._heads.note(
                    stream, msgspec.structs.replace(head, version=last, sequenced=sequenced, state="open", exists=True)
                )
            position = None if position is None else position + piece.count
            results.append(Appended(last if stream is not None else 0, position or 0))
        return results

    async def _after_clash(self, batch: Batch, clash: Clash) -> list[Appended] | None:
        """What the clash means: the first result where the events are stored, or None: try again."""
        if "status" in clash.kinds:
            raise _GivenUp
        if "id" in clash.kinds:
            stored = await self._ids.places(batch.ids, own=batch.name)
            return first_result([piece.write for piece in batch.pieces], stored) if stored else None
        if not clash.kinds <= {"head", "global"}:
            raise CorruptStore(
                self._service.target.shown,
                f"there is a {'/'.join(sorted(clash.kinds))} where none can be",
                "Was the table restored, or written by something else? Restore it to another moment.",
            )
        for label, item in clash.failed:
            if label.stream is not None:
                self._heads.forget([label.stream])
                if item is not None:
                    self._heads.note(label.stream, head_of(item))
        return None

    async def _first_result(self, batch: Batch, refused: AppendRefused, *, sent: bool = False) -> list[Appended]:
        """The first result where the events are stored already; else the refusal."""
        stored = await self._ids.places(batch.ids, own=batch.name)
        if not stored:
            raise refused
        results = first_result([piece.write for piece in batch.pieces], stored)
        return [msgspec.structs.replace(each, duplicate=not sent) for each in results]

    async def _after_loss(self, batch: Batch, error: Lost, *, last: bool) -> list[Appended] | None:
        """No answer came: are the events stored? None: no, so far; the ids make it safe to send them again."""
        ids = [uuid.UUID(bytes=id) for id in batch.ids]
        try:
            stored = await self._ids.places(batch.ids, own=batch.name)
        except StoreUnavailable as away:
            raise OutcomeUnknown(ids, f"{self._service.target.shown}: {error}") from away
        if stored:
            results = first_result([piece.write for piece in batch.pieces], stored)
            return [msgspec.structs.replace(each, duplicate=False) for each in results]
        if last:
            raise OutcomeUnknown(ids, f"{self._service.target.shown}: {error}")
        return None


class _GivenUp(Exception):
    """Somebody who wanted the same ids has given this staged append up: stage it again, under another name."""


def _refusal(write: Write, heads: dict[str, Head]) -> AppendRefused | None:
    """Why the write does not fit its stream."""
    if write.stream is None:
        return None
    head = heads[write.stream]
    try:
        check_expected(write.stream, write.expected, head.version, head.state)
    except AppendRefused as refused:
        return refused
    return None
