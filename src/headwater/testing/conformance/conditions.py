"""Append conditions: the dcb.events specification. Fail if a match is stored after a position."""

from __future__ import annotations

import pytest

from headwater.errors import AppendConditionFailed, WrongExpectedVersion
from headwater.events import NewEvent
from headwater.queries import NO_STREAM, AppendCondition, Query, QueryItem
from headwater.store import Append, EventStore
from headwater.testing.conformance.fixtures import StorePromises, needs, refusal, whole_log
from headwater.testing.conformance.queries import EVENTS, MATCHES

BOUNDARY = Query([QueryItem(types=["A_SUBMITTED"], tags=["applicant:112"])])


def _submitted(applicant: int = 112) -> NewEvent:
    return NewEvent("A_SUBMITTED", {"amount": 20000}, tags=[f"applicant:{applicant}"])


class ConditionPromises(StorePromises):
    """``append`` with a condition, on a stream or without one."""

    @pytest.mark.parametrize("stream", ["loan-1", None])
    async def test_no_match(self, store: EventStore, stream: str | None) -> None:
        """Where nothing matches, the append is written."""
        needs(store, "append_condition")
        await store.append("loan-2", _submitted(113))
        await store.append(stream, _submitted(), condition=AppendCondition(BOUNDARY))
        assert len(await whole_log(store, query=BOUNDARY)) == 1

    @pytest.mark.parametrize("stream", ["loan-1", None])
    async def test_after_0_ignores_nothing(self, store: EventStore, stream: str | None) -> None:
        """With ``after=0`` any match refuses the append, the very first event of the log too; nothing is written."""
        needs(store, "append_condition")
        await store.append(stream, _submitted())
        for condition in (AppendCondition(BOUNDARY), AppendCondition(BOUNDARY, after=0)):
            with pytest.raises(AppendConditionFailed) as refused:
                await store.append(stream, _submitted(), condition=condition)
            assert refused.value.condition == condition
            assert refused.value.position in (None, (await whole_log(store))[0].position)
        assert len(await whole_log(store)) == 1

    async def test_after_is_exclusive(self, store: EventStore) -> None:
        """A match at ``after`` itself is known to the writer and ignored; one position earlier it refuses."""
        needs(store, "append_condition")
        await store.append("loan-9", _submitted(9))
        seen = (await store.append("loan-1", _submitted())).position
        assert isinstance(
            await refusal(store.append("loan-1", _submitted(), condition=AppendCondition(BOUNDARY, seen - 1))),
            AppendConditionFailed,
        )
        await store.append("loan-1", _submitted(), condition=AppendCondition(BOUNDARY, seen))
        assert len(await whole_log(store, query=BOUNDARY)) == 2

    async def test_later_match_refuses(self, store: EventStore) -> None:
        """A match after the writer's position refuses; other events after it do not."""
        needs(store, "append_condition")
        seen = (await store.append("loan-1", _submitted())).position
        await store.append("loan-2", _submitted(113))
        await store.append("loan-1", _submitted(), condition=AppendCondition(BOUNDARY, seen))
        assert isinstance(
            await refusal(store.append("loan-1", _submitted(), condition=AppendCondition(BOUNDARY, seen))),
            AppendConditionFailed,
        )

    async def test_after_beyond_the_last(self, store: EventStore) -> None:
        """A position beyond the last event ignores everything that is there."""
        needs(store, "append_condition")
        last = (await store.append("loan-1", _submitted())).position
        await store.append("loan-1", _submitted(), condition=AppendCondition(BOUNDARY, last + 1_000_000))
        assert len(await whole_log(store)) == 2

    async def test_query_all(self, store: EventStore) -> None:
        """A condition on every event: only who has read up to the very end may append."""
        needs(store, "append_condition")
        await store.append("loan-1", _submitted(), condition=AppendCondition(Query.all()))
        head = await store.head()
        assert await refusal(store.append("loan-1", _submitted(), condition=AppendCondition(Query.all())))
        await store.append("loan-1", _submitted(), condition=AppendCondition(Query.all(), head))
        assert await refusal(store.append("loan-1", _submitted(), condition=AppendCondition(Query.all(), head)))
        assert len(await whole_log(store)) == 2

    async def test_same_rules_as_reading(self, store: EventStore) -> None:
        """A condition refuses exactly where reading the same query after the same position finds something."""
        needs(store, "append_condition")
        positions = [
            (await store.append(stream, NewEvent(kind, {}, tags=tags))).position for stream, kind, tags in EVENTS
        ]
        for items, numbers in MATCHES:
            query = Query([QueryItem(**item) for item in items])
            for number in {0, *numbers}:
                after = positions[number - 1] if number else 0
                rest = [each for each in numbers if each > number]
                append = store.append("audit-1", NewEvent("Checked", {}), condition=AppendCondition(query, after))
                assert isinstance(await refusal(append), AppendConditionFailed) == bool(rest), (items, number)

    async def test_hidden_events_count(self, store: EventStore) -> None:
        """Deleting a stream hides it from its readers; a condition still sees the whole log."""
        needs(store, "append_condition", "stream_policies")
        await store.append("loan-1", _submitted())
        await store.delete_stream("loan-1")
        assert await refusal(store.append("loan-2", _submitted(), condition=AppendCondition(BOUNDARY)))

    async def test_with_an_expected_version(self, store: EventStore) -> None:
        """An expectation and a condition must both hold."""
        needs(store, "append_condition")
        await store.append("loan-1", _submitted(113))
        condition = AppendCondition(BOUNDARY)
        wrong = await refusal(store.append("loan-1", _submitted(), expected=NO_STREAM, condition=condition))
        assert isinstance(wrong, WrongExpectedVersion)
        await store.append("loan-1", _submitted(), expected=1, condition=condition)
        failed = await refusal(store.append("loan-1", _submitted(), expected=2, condition=condition))
        assert isinstance(failed, AppendConditionFailed)

    async def test_in_append_all(self, store: EventStore) -> None:
        """Conditions of several parts look at the log before the append; one that fails refuses all."""
        needs(store, "append_condition", "atomic_streams")
        other = AppendCondition(Query([QueryItem(types=["O_CREATED"])]))
        await store.append_all(
            [
                Append("loan-1", [_submitted()], condition=AppendCondition(BOUNDARY)),
                Append("offer-1", [NewEvent("O_CREATED", {})], condition=AppendCondition(BOUNDARY)),
            ]
        )
        before = await whole_log(store)
        assert await refusal(
            store.append_all([Append("loan-2", [_submitted(113)]), Append(None, [_submitted(114)], condition=other)])
        )
        assert await whole_log(store) == before

    async def test_without_capability(self, store: EventStore) -> None:
        """A backend either keeps conditions or refuses them: never ignores them."""
        await store.append("loan-1", _submitted())
        if not store.capabilities.append_condition:
            with pytest.raises(Exception, match="condition"):
                await store.append("loan-1", _submitted(), condition=AppendCondition(BOUNDARY))
        else:
            with pytest.raises(AppendConditionFailed):
                await store.append("loan-1", _submitted(), condition=AppendCondition(BOUNDARY))
        assert len(await whole_log(store)) == 1
