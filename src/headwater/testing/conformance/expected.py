"""Promise 2: optimistic concurrency. What each expectation fits, and that a refusal writes nothing."""

from __future__ import annotations

import pytest

from headwater.errors import StreamDeleted, WrongExpectedVersion
from headwater.queries import ANY, NO_STREAM, STREAM_EXISTS, ExpectedVersion
from headwater.store import EventStore
from headwater.testing.conformance.fixtures import StorePromises, history, needs, refusal, whole_log
from headwater.testing.loans import CASE, loan

NEW, OPEN, DELETED, REOPENED = "never written", "at version 3", "deleted at version 3", "deleted at 3, written again"

FITS: list[tuple[str, list[ExpectedVersion], list[ExpectedVersion]]] = [
    (NEW, [ANY, NO_STREAM, 0], [STREAM_EXISTS, 1]),
    (OPEN, [ANY, STREAM_EXISTS, 3], [NO_STREAM, 0, 1, 2, 4]),
    (DELETED, [ANY, NO_STREAM, 3], [STREAM_EXISTS, 0, 2, 4]),
    (REOPENED, [ANY, STREAM_EXISTS, 4], [NO_STREAM, 0, 3, 5]),
]
"""State of a stream, what fits it, what does not."""


async def _prepared(store: EventStore, state: str) -> int:
    """Bring the stream into the state; its version then."""
    if state == NEW:
        return 0
    await store.append(CASE, loan(3))
    if state == OPEN:
        return 3
    needs(store, "stream_policies")
    await store.delete_stream(CASE)
    if state == DELETED:
        return 3
    return (await store.append(CASE, loan(1))).version


class ExpectedVersionPromises(StorePromises):
    """Expected versions on a single stream."""

    @pytest.mark.parametrize(("state", "expected"), [(state, each) for state, fits, _ in FITS for each in fits])
    async def test_fitting_expectation(self, store: EventStore, state: str, expected: ExpectedVersion) -> None:
        """An append whose expectation fits the stream is written, at the next version."""
        version = await _prepared(store, state)
        assert (await store.append(CASE, loan(2), expected=expected)).version == version + 2

    @pytest.mark.parametrize(("state", "expected"), [(state, each) for state, _, not_ in FITS for each in not_])
    async def test_other_expectation(self, store: EventStore, state: str, expected: ExpectedVersion) -> None:
        """An append that expects otherwise is refused with stream, expected and actual; nothing is written."""
        version = await _prepared(store, state)
        before = await whole_log(store)
        with pytest.raises(WrongExpectedVersion) as refused:
            await store.append(CASE, loan(2), expected=expected)
        assert (refused.value.stream, refused.value.expected, refused.value.actual) == (CASE, expected, version)
        assert await whole_log(store) == before

    async def test_tombstone_fits_nothing(self, store: EventStore) -> None:
        """A tombstoned stream refuses every append with ``StreamDeleted``, whatever is expected."""
        needs(store, "stream_policies")
        await store.append(CASE, loan(3))
        await store.tombstone_stream(CASE)
        for expected in (ANY, NO_STREAM, STREAM_EXISTS, 0, 3, 7):
            with pytest.raises(StreamDeleted) as refused:
                await store.append(CASE, loan(1), expected=expected)
            assert refused.value.stream == CASE
        assert len(await whole_log(store)) == 3

    async def test_refused_append_leaves_no_hole(self, store: EventStore) -> None:
        """After refused appends the versions go on without a hole."""
        for version in range(5):
            assert await refusal(store.append(CASE, loan(2), expected=version + 1))
            await store.append(CASE, loan(1), expected=version)
        assert [event.version for event in await history(store, CASE)] == [1, 2, 3, 4, 5]

    async def test_refused_first_append_makes_no_stream(self, store: EventStore) -> None:
        """A stream whose first append was refused does not exist."""
        assert isinstance(await refusal(store.append(CASE, loan(1), expected=5)), WrongExpectedVersion)
        assert await store.stream(CASE) is None
        assert await store.categories() == {}

    async def test_names_are_exact(self, store: EventStore) -> None:
        """Streams whose names differ only in case, or by one character, are different streams."""
        for name in ("loan-1", "Loan-1", "loan-1 ", "loan-11", "loan_1", "loan-é", "loan-e\u0301"):
            assert (await store.append(name, loan(1), expected=NO_STREAM)).version == 1
        assert len([info async for info in store.streams()]) == 7
