"""``Streams.Append`` and ``Streams.BatchAppend``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc

from headwater.backend import Appended
from headwater.errors import HeadwaterError, TooLarge
from headwater.limits import Limits
from headwater.queries import ANY, NO_STREAM, STREAM_EXISTS, ExpectedVersion
from headwater.server.accounts import User
from headwater.server.kurrentdb.access import WRITE, Access
from headwater.server.kurrentdb.messages import message
from headwater.server.kurrentdb.recorded import name_of
from headwater.server.kurrentdb.refusals import Refused, invalid, packed, refusal_of, stream_deleted
from headwater.server.kurrentdb.rpc import Call
from headwater.server.kurrentdb.storing import Conflict, Proposal, SoftDeleted, Storing, expectation_of, proposal_of

__all__ = ["Appending"]

NOT_THERE = (1 << 64) - 1
"""The revision of a stream without events, as old clients read it."""

BATCHES_MOST = 500
"""Batches of one call that are under way at a time; the client's next one waits."""

_ONE_QUEUE = {"memory", "sqlite"}
"""Backends that take appends in the order in which they were asked. On others the batches of a stream wait in turn."""

_RESPONSE = message("event_store.client.streams.AppendResp")
_BATCH = message("event_store.client.streams.BatchAppendResp")


class Appending:
    """Appends to one store."""

    def __init__(self, storing: Storing, access: Access, limits: Limits, backend: str) -> None:
        self._storing = storing
        self._access = access
        self._limits = limits
        self._one_queue = backend in _ONE_QUEUE

    async def append(self, requests: AsyncIterator[Any], call: Call) -> Any:
        """One append: options first, then a message for each event."""
        stream, expected, proposals = await self._gathered(requests)
        await self._access.check(call.user, stream, WRITE)
        left = call.seconds_left()
        if left is not None and left <= 0:
            raise Refused(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline is over: nothing was appended")
        response = _RESPONSE()
        try:
            appended = await self._storing.append(stream, expected, proposals)
        except Conflict as conflict:
            _fill_conflict(response.wrong_expected_version, conflict)
            return response
        except SoftDeleted:
            raise stream_deleted(stream) from None
        _fill_success(response.success, appended)
        return response

    async def _gathered(self, requests: AsyncIterator[Any]) -> tuple[str, ExpectedVersion, list[Proposal]]:
        where: tuple[str, ExpectedVersion] | None = None
        proposals: list[Proposal] = []
        size = 0
        async for request in requests:
            content = request.WhichOneof("content")
            if content == "options" and where is None:
                expected = expectation_of(request.options, "expected_stream_revision", "revision")
                where = name_of(request.options.stream_identifier), expected
            elif content == "proposed_message" and where is not None:
                proposals.append(proposal_of(request.proposed_message))
                size += len(proposals[-1].data) + len(proposals[-1].metadata)
                self._check_size(len(proposals), size)
            else:
                raise invalid("an append is its options, once, and then the proposed messages")
        if where is None:
            raise invalid("the append has no options")
        return *where, proposals

    def _check_size(self, events: int, size: int) -> None:
        """While an append comes in, so that none grows without end."""
        if events > self._limits.append_events_max:
            raise refusal_of(TooLarge("the append", events, "append_events_max", self._limits.append_events_max))
        if size > self._limits.append_bytes_max:
            raise refusal_of(TooLarge("the append", size, "append_bytes_max", self._limits.append_bytes_max))

    async def batch_append(self, requests: AsyncIterator[Any], call: Call) -> AsyncGenerator[Any, None]:
        """Many appends on one call, each told apart by its correlation id; answers come as they are ready."""
        first = await anext(requests, None)
        if first is None:
            return
        if first.is_final:  # one batch is all that many clients send on a call: it needs no tasks of its own
            gathered = _Gathered(first, call.user)
            gathered.add(first)
            self.check(gathered)
            yield await self.batch(gathered, None)
            first = await anext(requests, None)
            if first is None:
                return
        batches = _Batches(self, first, call.user)
        reading = asyncio.create_task(batches.read(requests))
        try:
            while (answer := await batches.answers.get()) is not None:
                if isinstance(answer, BaseException):
                    raise answer
                yield answer
                batches.room.release()  # only now: who does not read his answers gets no further
            await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def batch(self, gathered: _Gathered, before: asyncio.Task[Any] | None) -> Any:
        """Do one batch, after the one before it in its stream, and answer it."""
        options = gathered.options
        response = _BATCH(correlation_id=gathered.correlation)
        response.stream_identifier.CopyFrom(options.stream_identifier)
        _copy_expectation(response, options)
        try:
            if before is not None:
                await asyncio.wait([before])
            seconds = gathered.seconds()
            if seconds is not None and seconds <= 0:
                raise TimeoutError  # nobody waits for it any more, so it is not begun
            async with asyncio.timeout(seconds):
                await self._batch(response, gathered)
        except TimeoutError:
            _fill_error(response.error, grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline is over", "Timeout")
        except Refused as refused:
            if refused.code is grpc.StatusCode.PERMISSION_DENIED:
                _fill_error(response.error, refused.code, refused.details, "AccessDenied")
            else:
                _fill_error(response.error, refused.code, refused.details, "BadRequest", message=refused.details)
        return response

    async def _batch(self, response: Any, gathered: _Gathered) -> None:
        stream = name_of(gathered.options.stream_identifier)
        await self._access.check(gathered.user, stream, WRITE)
        try:
            expected = expectation_of(gathered.options, "expected_stream_position", "stream_position")
            proposals = [proposal_of(each) for each in gathered.messages]
            appended = await self._storing.append(stream, expected, proposals)
        except Conflict as conflict:
            _fill_batch_conflict(response.error, conflict)
        except SoftDeleted:
            _fill_deleted(response.error, stream)
        except TooLarge as large:
            most = min(large.most, (1 << 32) - 1)
            code = grpc.StatusCode.INVALID_ARGUMENT
            _fill_error(response.error, code, str(large), "MaximumAppendSizeExceeded", maxAppendSize=most)
        except HeadwaterError as error:
            refused = refusal_of(error)
            if ("exception", "stream-deleted") in refused.trailers:
                _fill_deleted(response.error, stream)
            elif refused.code is grpc.StatusCode.INVALID_ARGUMENT:
                raise refused from None
            else:
                _fill_error(response.error, refused.code, refused.details, "Unknown")
        else:
            _fill_success(response.success, appended)

    def check(self, gathered: _Gathered) -> None:
        """Refuse a batch that is too large while it comes in."""
        self._check_size(len(gathered.messages), gathered.size)

    def key(self, gathered: _Gathered) -> bytes | None:
        """What the batches share that have to wait for each other; None where they need not."""
        return None if self._one_queue else bytes(gathered.options.stream_identifier.stream_name)


class _Gathered:
    """A batch as it comes in, in one or more chunks."""

    def __init__(self, request: Any, user: User | None) -> None:
        self.user = user
        self.correlation = request.correlation_id
        self.options = request.options
        self.messages: list[Any] = []
        self.size = 0
        self._began = time.monotonic()

    def add(self, request: Any) -> None:
        """Take the messages of a chunk in."""
        for each in request.proposed_messages:
            self.messages.append(each)
            self.size += len(each.data) + len(each.custom_metadata)

    def seconds(self) -> float | None:
        """How long it may still take; None for as long as it takes."""
        kind = self.options.WhichOneof("deadline_option")
        if kind == "deadline":
            given = self.options.deadline
            left = given.seconds + given.nanos / 1e9 - (time.monotonic() - self._began)
        elif kind == "deadline_21_10_0":
            given = self.options.deadline_21_10_0
            left = given.seconds + given.nanos / 1e9 - time.time()
        else:
            return None
        return left if left < 86_400 else None


class _Batches:
    """The batches of one call: at most so many under way, those of one stream one after the other where they must."""

    def __init__(self, appending: Appending, first: Any, user: User | None) -> None:
        self._user = user
        self.answers: asyncio.Queue[Any] = asyncio.Queue()
        self.room = asyncio.Semaphore(BATCHES_MOST)
        self._appending = appending
        self._first = first
        self._coming: dict[bytes, _Gathered] = {}
        self._last: dict[bytes, asyncio.Task[Any]] = {}
        self._running: set[asyncio.Task[Any]] = set()

    async def read(self, requests: AsyncIterator[Any]) -> None:
        """Take requests until the client has no more, and end the answers when all are given."""
        try:
            await self._take(self._first)
            async for request in requests:
                await self._take(request)
            if self._running:
                await asyncio.wait(self._running)
        finally:
            self.answers.put_nowait(None)

    async def _take(self, request: Any) -> None:
        key = request.correlation_id.SerializeToString()
        gathered = self._coming.get(key)
        if gathered is None:
            if len(self._coming) >= BATCHES_MOST:
                raise invalid(f"more than {BATCHES_MOST} batches are begun and not final")
            gathered = self._coming[key] = _Gathered(request, self._user)
        gathered.add(request)
        self._appending.check(gathered)
        if request.is_final:
            del self._coming[key]
            await self._start(gathered)

    async def _start(self, gathered: _Gathered) -> None:
        await self.room.acquire()
        key = self._appending.key(gathered)
        before = None if key is None else self._last.get(key)
        task = asyncio.create_task(self._appending.batch(gathered, before))
        if key is not None:
            self._last[key] = task
        self._running.add(task)
        task.add_done_callback(lambda done: self._done(done, key))

    def _done(self, task: asyncio.Task[Any], key: bytes | None) -> None:
        self._running.discard(task)
        if key is not None and self._last.get(key) is task:
            del self._last[key]
        if not task.cancelled():
            self.answers.put_nowait(task.exception() or task.result())


def _fill_success(success: Any, appended: Appended) -> None:
    if appended.version:
        success.current_revision = appended.version - 1
    else:
        success.no_stream.SetInParent()
    if appended.position:
        success.position.commit_position = success.position.prepare_position = appended.position
    else:
        success.no_position.SetInParent()


def _fill_conflict(wrong: Any, conflict: Conflict) -> None:
    """In the words of version 20.6, and in those of later ones."""
    if conflict.actual < 0:
        wrong.no_stream_20_6_0.SetInParent()
        wrong.current_no_stream.SetInParent()
    else:
        wrong.current_revision_20_6_0 = wrong.current_revision = conflict.actual
    expected = conflict.expected
    if expected is ANY:
        wrong.any_20_6_0.SetInParent()
        wrong.expected_any.SetInParent()
    elif expected is STREAM_EXISTS:
        wrong.stream_exists_20_6_0.SetInParent()
        wrong.expected_stream_exists.SetInParent()
    elif expected is NO_STREAM or expected == 0:
        wrong.expected_revision_20_6_0 = NOT_THERE
        wrong.expected_no_stream.SetInParent()
    elif isinstance(expected, int):
        wrong.expected_revision_20_6_0 = wrong.expected_revision = expected - 1


def _fill_batch_conflict(error: Any, conflict: Conflict) -> None:
    details = message("event_store.client.WrongExpectedVersion")()
    if conflict.actual < 0:
        details.current_no_stream.SetInParent()
    else:
        details.current_stream_revision = conflict.actual
    expected = conflict.expected
    if expected is ANY:
        details.expected_any.SetInParent()
    elif expected is STREAM_EXISTS:
        details.expected_stream_exists.SetInParent()
    elif expected is NO_STREAM or expected == 0:
        details.expected_no_stream.SetInParent()
    elif isinstance(expected, int):
        details.expected_stream_position = expected - 1
    error.code = grpc.StatusCode.ALREADY_EXISTS.value[0]
    error.message = "WrongExpectedVersion"
    error.details.CopyFrom(packed(details))


def _fill_deleted(error: Any, stream: str) -> None:
    details = message("event_store.client.StreamDeleted")()
    details.stream_identifier.stream_name = stream.encode()
    error.code = grpc.StatusCode.NOT_FOUND.value[0]
    error.message = f"Event stream '{stream}' is deleted."
    error.details.CopyFrom(packed(details))


def _fill_error(error: Any, code: Any, text: str, kind: str, **facts: object) -> None:
    error.code = code.value[0]
    error.message = text
    error.details.CopyFrom(packed(message(f"event_store.client.{kind}")(**facts)))


def _copy_expectation(response: Any, options: Any) -> None:
    kind = options.WhichOneof("expected_stream_position")
    if kind == "stream_position":
        response.stream_position = options.stream_position
    elif kind is not None:
        getattr(response, kind).SetInParent()
