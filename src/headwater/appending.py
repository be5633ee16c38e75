"""The rules of an append that every backend applies in the same way, so that their answers can't drift apart."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from headwater.backend import Appended, StreamState, Write
from headwater.errors import DuplicateEvent, StreamDeleted, WrongExpectedVersion
from headwater.queries import STREAM_EXISTS, Expected, ExpectedVersion

__all__ = ["Place", "check_deletion", "check_expected", "first_result", "version_fits"]


class Place(NamedTuple):
    """Where a stored event is."""

    position: int
    stream: str | None
    version: int


def version_fits(expected: ExpectedVersion, version: int, *, deleted: bool) -> bool:
    """Whether a stream at ``version`` (0 = never written) is as expected.

    A deleted stream has no events to see, so it fits ``NO_STREAM`` and not ``STREAM_EXISTS``; its version goes on
    counting, so it also fits that number.
    """
    if expected is Expected.ANY:
        return True
    if expected is Expected.NO_STREAM:
        return version == 0 or deleted
    if expected is Expected.STREAM_EXISTS:
        return version > 0 and not deleted
    return version == expected


def check_expected(stream: str, expected: ExpectedVersion, version: int, state: StreamState) -> None:
    """Refuse an append to a stream that is tombstoned, or not at the expected version.

    Raises ``StreamDeleted`` or ``WrongExpectedVersion``.
    """
    if state == "tombstoned":
        raise StreamDeleted(stream)
    if not version_fits(expected, version, deleted=state == "deleted"):
        raise WrongExpectedVersion(stream, expected, version)


def check_deletion(
    stream: str, expected: ExpectedVersion, version: int, state: StreamState, *, tombstone: bool
) -> None:
    """Refuse to delete a stream that was never written (a name may be tombstoned unused), or is not as expected."""
    if version == 0 and state == "open" and not tombstone:
        raise WrongExpectedVersion(stream, STREAM_EXISTS, 0)
    check_expected(stream, expected, version, state)


def first_result(writes: Sequence[Write], stored: Mapping[bytes, Place]) -> list[Appended]:
    """The result of the earlier append that stored these very writes, as ``stored`` (by id) shows it.

    Raises ``DuplicateEvent`` where only some of the ids are stored, or they are in other streams or another order.
    """
    results = []
    for write in writes:
        places = [stored.get(record.id) for record in write.records]
        known = [place for place in places if place is not None]
        if len(known) < len(places):
            raise DuplicateEvent(_ids(stored), "some of the append's event ids are stored already, others are not")
        if any(place.stream != write.stream for place in known):
            raise DuplicateEvent(_ids(stored), "the append's event ids are stored already, in another stream")
        if not _in_order(known):
            raise DuplicateEvent(_ids(stored), "the append's event ids are stored already, in another order")
        results.append(Appended(known[-1].version, known[-1].position, duplicate=True))
    return results


def _in_order(places: Sequence[Place]) -> bool:
    """One after the other: in a stream without a hole, outside one simply rising."""
    return all(
        after.position > before.position and (after.stream is None or after.version == before.version + 1)
        for before, after in itertools.pairwise(places)
    )


def _ids(stored: Mapping[bytes, Place]) -> list[uuid.UUID]:
    return [uuid.UUID(bytes=each) for each in stored]
