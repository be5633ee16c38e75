"""Version 2 of the protocol: appends to several streams, all or none, and checks on any stream."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import grpc
import msgspec

from headwater.backend import Appended, StreamInfo
from headwater.errors import AppendConditionFailed, DuplicateEvent, StreamDeleted, TooLarge
from headwater.events import JSON
from headwater.queries import ANY, NO_STREAM, STREAM_EXISTS, AppendCondition, ExpectedVersion, Query, QueryItem
from headwater.server.kurrentdb.access import READ, WRITE, Access
from headwater.server.kurrentdb.messages import message
from headwater.server.kurrentdb.recorded import BYTES, id_of
from headwater.server.kurrentdb.refusals import Refused, detailed, invalid
from headwater.server.kurrentdb.rpc import Call
from headwater.server.kurrentdb.storing import Conflict, Proposal, SoftDeleted, Storing, Streamwise
from headwater.store import EventStore

__all__ = ["Sessions"]

_PACKAGE = "kurrentdb.protocol.v2.streams"
_FORMATS = {1: "Json", 2: "Protobuf", 3: "Avro", 4: "Bytes"}

IS_ANY, IS_NOT_THERE, EXISTS, IS_DELETED, IS_TOMBSTONED = -2, -1, -4, -5, -6
"""States of a stream that are no revisions."""

_EXPECTED: dict[int, ExpectedVersion] = {IS_NOT_THERE: NO_STREAM, IS_ANY: ANY, EXISTS: STREAM_EXISTS}

ATTEMPTS = 20
"""How often an append with checks is begun anew because somebody wrote to a checked stream meanwhile."""


class Sessions:
    """Such appends to one store."""

    def __init__(self, store: EventStore, storing: Storing, access: Access) -> None:
        self._store = store
        self._storing = storing
        self._access = access

    async def append_session(self, requests: AsyncIterator[Any], call: Call) -> Any:
        """A message for each stream, with what is expected of it and its records."""
        parts: list[Streamwise] = []
        async for request in requests:
            if any(part.stream == request.stream for part in parts):
                raise _refused(
                    grpc.StatusCode.ABORTED,
                    f"Stream '{request.stream}' is already part of this append session.",
                    "StreamAlreadyInAppendSession",
                    stream=request.stream,
                )
            state = request.expected_revision if request.HasField("expected_revision") else IS_ANY
            parts.append(Streamwise(_named(request.stream), _expected(state), _proposals(request.records)))
            self._check_size(parts)
        if not parts:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "The append session has no requests.")
        await self._check_access(call, (each.stream for each in parts), WRITE)
        results = await self._appended(parts)
        response = message(f"{_PACKAGE}.AppendSessionResponse")()
        for part, result in zip(parts, results, strict=True):
            response.output.add(stream=part.stream, stream_revision=result.version - 1, position=result.position)
        response.position = max(each.position for each in results)
        return response

    async def append_records(self, request: Any, call: Call) -> Any:
        """Records for several streams, and checks on these or others. A stream's events stand together in the log."""
        if not request.records:
            raise invalid("the append has no records")
        grouped: dict[str, list[Any]] = {}
        for record in request.records:
            grouped.setdefault(_named(record.stream), []).append(record)
        parts = [Streamwise(stream, ANY, _proposals(records)) for stream, records in grouped.items()]
        await self._check_access(call, (each.stream for each in parts), WRITE)
        await self._check_access(call, {check.stream_state.stream for check in request.checks} - set(grouped), READ)
        self._check_size(parts)
        results = await self._checked(parts, request.checks) if request.checks else await self._appended(parts)
        response = message(f"{_PACKAGE}.AppendRecordsResponse")()
        for part, result in zip(parts, results, strict=True):
            response.revisions.add(stream=part.stream, revision=result.version - 1)
        response.position = max(each.position for each in results)
        return response

    async def _check_access(self, call: Call, streams: Iterable[str], right: str) -> None:
        for stream in streams:
            await self._access.check(call.user, stream, right)

    async def _appended(self, parts: list[Streamwise], *, told: bool = True) -> list[Appended]:
        """Append. Conflicts are ``told`` as version 2 of the protocol tells them, or left as they are."""
        try:
            return await asyncio.shield(self._storing.append_all(parts))
        except (Conflict, SoftDeleted, StreamDeleted) as refusal:
            if not told:
                raise
            raise await self._told(refusal) from None
        except TooLarge as large:
            raise _too_large(large) from None

    async def _told(self, refusal: Exception) -> Refused:
        if isinstance(refusal, Conflict):
            return _conflict(refusal)
        if isinstance(refusal, SoftDeleted):
            actual = await self._store.stream(refusal.stream)
            return _conflict(Conflict(refusal.stream, STREAM_EXISTS, actual.version - 1 if actual else -1))
        assert isinstance(refusal, StreamDeleted)
        return _refused(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"Stream '{refusal.stream}' has been tombstoned.",
            "StreamTombstoned",
            stream=refusal.stream,
        )

    async def _checked(self, parts: list[Streamwise], checks: Any) -> list[Appended]:
        """Append while the checks hold. Those on streams that are written, the store makes itself.

        The others are looked at, and the append is made on condition that nobody writes there meanwhile. Again, where
        somebody did.
        """
        parts, watched = _split(parts, checks)
        for _ in range(ATTEMPTS):
            head = await self._store.head()
            violations = await self._violations(checks, watched) if watched else []
            if violations:
                return await self._repeated(parts, _violated(await self._violations(checks)))
            guarded = parts
            if watched:
                condition = AppendCondition(Query([QueryItem(streams=watched)]), after=head)
                guarded = [parts[0]._replace(condition=condition), *parts[1:]]
            try:
                return await self._appended(guarded, told=False)
            except AppendConditionFailed:
                continue
            except (Conflict, SoftDeleted, StreamDeleted):
                violations = await self._violations(checks)
                if violations:
                    return await self._repeated(parts, _violated(violations))
        raise Refused(grpc.StatusCode.ABORTED, "others write to the checked streams all the time: try again")

    async def _violations(self, checks: Any, only: set[str] | None = None) -> list[dict[str, Any]]:
        names = dict.fromkeys(check.stream_state.stream for check in checks)
        states = {name: await self._store.stream(name) for name in names if only is None or name in only}
        return list(_violations(checks, states))

    async def _repeated(self, parts: list[Streamwise], violated: Refused) -> list[Appended]:
        """The first result, where this append was done before: then its checks need not hold any more."""
        for part in parts:
            for each in part.proposals:
                if not await self._is_stored(part.stream, each.id):
                    raise violated
        try:
            return await self._storing.append_all(parts)  # writes nothing: every id is there
        except (DuplicateEvent, Conflict, StreamDeleted):
            raise violated from None

    async def _is_stored(self, stream: str, id: uuid.UUID) -> bool:
        found = [await self._store.event(each) for each in (id, id_of(stream, id))]
        return any(event is not None and event.stream == stream for event in found)

    def _check_size(self, parts: list[Streamwise]) -> None:
        limits = self._store.limits
        size = sum(len(each.data) + len(each.metadata) for part in parts for each in part.proposals)
        if size > limits.append_bytes_max:
            raise _transaction_too_large(size, limits.append_bytes_max)
        for part in parts:
            for each in part.proposals:
                if len(each.data) > limits.event_bytes_max:
                    raise _refused(
                        grpc.StatusCode.INVALID_ARGUMENT,
                        f"The record {each.id} of stream '{part.stream}' has {len(each.data):,} bytes, "
                        f"over the limit of {limits.event_bytes_max:,}.",
                        "AppendRecordSizeExceeded",
                        stream=part.stream,
                        record_id=str(each.id),
                        size=len(each.data),
                        max_size=limits.event_bytes_max,
                    )


def _named(stream: str) -> str:
    if not stream:
        raise invalid("a record or a check names no stream")
    return stream


def _expected(state: int) -> ExpectedVersion:
    if state >= 0:
        return state + 1
    if state not in _EXPECTED:
        raise invalid(f"the expected revision {state} is none of -1 (no stream), -2 (any), -4 (exists) or a revision")
    return _EXPECTED[state]


def _proposals(records: Iterable[Any]) -> list[Proposal]:
    return [_proposal(record) for record in records]


def _proposal(record: Any) -> Proposal:
    try:
        id = uuid.UUID(record.record_id) if record.record_id else uuid.uuid4()
    except ValueError:
        raise invalid(f"the record's id {record.record_id[:60]!r} is not a UUID") from None
    if record.schema.format not in _FORMATS or not record.schema.name:
        raise invalid("a record needs a schema with a name and a format: JSON, PROTOBUF, AVRO or BYTES")
    content_type = JSON if record.schema.format == 1 else BYTES
    about = {key: _plain(value) for key, value in record.properties.items()}
    if record.schema.format in (2, 3):
        about.setdefault("$schema.format", _FORMATS[record.schema.format])
    if record.schema.id:
        about.setdefault("$schema.id", record.schema.id)
    metadata = msgspec.json.encode(about) if about else b""
    return Proposal(id, {"type": record.schema.name, "content-type": content_type}, record.data, metadata)


def _plain(value: Any) -> Any:
    """A ``google.protobuf.Value`` as JSON has it."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return {key: _plain(each) for key, each in value.struct_value.fields.items()}
    if kind == "list_value":
        return [_plain(each) for each in value.list_value.values]
    return None if kind in (None, "null_value") else getattr(value, kind)


def _split(parts: list[Streamwise], checks: Any) -> tuple[list[Streamwise], set[str]]:
    """The parts with what is expected of their streams, and the other streams that are to be watched."""
    asked: dict[str, list[int]] = {}
    for index, check in enumerate(checks):
        if check.WhichOneof("type") != "stream_state":
            raise invalid(f"the check {index} says nothing that this server knows: stream_state")
        asked.setdefault(_named(check.stream_state.stream), []).append(check.stream_state.expected_state)
    expected = {}
    for part in parts:
        states = asked.get(part.stream, [])
        if len(states) == 1 and (states[0] in _EXPECTED or states[0] >= 0):
            expected[part.stream] = _expected(states[0])
    split = [part._replace(expected=expected.get(part.stream, ANY)) for part in parts]
    return split, set(asked) - set(expected)


def _violations(checks: Any, states: Mapping[str, StreamInfo | None]) -> Iterable[dict[str, Any]]:
    for index, check in enumerate(checks):
        if check.stream_state.stream not in states:
            continue
        stream, expected = check.stream_state.stream, check.stream_state.expected_state
        actual = _state(states[stream])
        fits = expected in (actual, IS_ANY) or (expected == EXISTS and actual >= 0)
        fits = fits or (expected == IS_NOT_THERE and actual == IS_DELETED)
        if not fits:
            yield {
                "check_index": index,
                "stream_state": {"stream": stream, "expected_state": expected, "actual_state": actual},
            }


def _state(info: StreamInfo | None) -> int:
    if info is None:
        return IS_NOT_THERE
    return {"tombstoned": IS_TOMBSTONED, "deleted": IS_DELETED}.get(info.state, info.version - 1)


def _refused(code: Any, text: str, kind: str, **facts: Any) -> Refused:
    return detailed(code, text, message(f"{_PACKAGE}.errors.{kind}ErrorDetails")(**facts))


def _violated(violations: list[dict[str, Any]]) -> Refused:
    text = "; ".join(
        f"check {each['check_index']}: stream '{each['stream_state']['stream']}' expected "
        f"{each['stream_state']['expected_state']}, actual {each['stream_state']['actual_state']}"
        for each in violations
    )
    return _refused(
        grpc.StatusCode.FAILED_PRECONDITION,
        f"Consistency checks failed: {text}.",
        "AppendConsistencyViolation",
        violations=violations,
    )


def _conflict(conflict: Conflict) -> Refused:
    expected = conflict.expected
    numbers: dict[object, int] = {value: key for key, value in _EXPECTED.items()}
    number = expected - 1 if isinstance(expected, int) else numbers[expected]
    return _refused(
        grpc.StatusCode.FAILED_PRECONDITION,
        f"Append failed due to a revision conflict on stream '{conflict.stream}'. "
        f"Expected revision: {number}. Actual revision: {conflict.actual}.",
        "StreamRevisionConflict",
        stream=conflict.stream,
        expected_revision=number,
        actual_revision=conflict.actual,
    )


def _too_large(large: TooLarge) -> Refused:
    if large.limit == "append_bytes_max":
        return _transaction_too_large(large.size, large.most)
    return invalid(str(large))


def _transaction_too_large(size: int, most: int) -> Refused:
    return _refused(
        grpc.StatusCode.ABORTED,
        f"The append has {size:,} bytes, over the limit of {most:,}.",
        "AppendTransactionSizeExceeded",
        size=size,
        max_size=most,
    )
