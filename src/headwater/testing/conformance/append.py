"""Promise 1: an acknowledged append is there, whole, as it was given, and stays."""

from __future__ import annotations

import itertools
import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from headwater.backend import Appended
from headwater.errors import WrongExpectedVersion
from headwater.events import JSON, NewEvent
from headwater.queries import NO_STREAM
from headwater.store import Append, EventStore
from headwater.testing.conformance.fixtures import OpenStore, StorePromises, history, needs, told, whole_log
from headwater.testing.loans import CASE, HISTORY, loan


class AppendPromises(StorePromises):
    """Appends to one stream, to several, and to none."""

    async def test_first_append_makes_the_stream(self, store: EventStore) -> None:
        """The first append makes the stream, at version 1."""
        done = await store.append(CASE, loan(1))
        assert (done.version, done.duplicate) == (1, False)
        assert done.position >= 1
        assert [event.version for event in await history(store, CASE)] == [1]

    async def test_everything_given_comes_back(self, store: EventStore) -> None:
        """An event comes back with its id, type, data, metadata, tags and moment as they were given."""
        moment = datetime.fromisoformat("2011-10-01T00:38:44.546+02:00")
        given = NewEvent(
            "A_SUBMITTED",
            {"amount": 20000, "purpose": ["car", None, True], "rate": 7.25},
            metadata={"source": "web", "trace": {"depth": 2}},
            tags=["resource:112", "case:173688"],
            occurred_at=moment,
        )
        done = await store.append(CASE, [given])
        (event,) = await history(store, CASE)
        assert (event.id, event.type, event.stream, event.category) == (given.id, "A_SUBMITTED", CASE, "loan")
        assert (event.data, event.metadata) == (given.data, given.metadata)
        assert sorted(event.tags) == ["case:173688", "resource:112"]
        assert (event.occurred_at, event.content_type) == (moment, JSON)
        assert (event.version, event.position) == (done.version, done.position)

    async def test_what_was_left_out_is_empty(self, store: EventStore) -> None:
        """An event without metadata, tags and moment comes back without them."""
        await store.append(CASE, [NewEvent("A_DECLINED", {})])
        (event,) = await history(store, CASE)
        assert (event.data, event.metadata, event.tags, event.occurred_at) == ({}, {}, (), None)

    async def test_recorded_by_the_clock(self, store: EventStore) -> None:
        """The store says when it recorded an event, in UTC, near to now; events of one append share the moment."""
        await store.append(CASE, loan(3))
        events = await history(store, CASE)
        assert abs(datetime.now(UTC) - events[0].recorded_at) < timedelta(minutes=5)
        assert len({event.recorded_us for event in events}) == 1

    async def test_structs_and_dataclass_like_objects(self, store: EventStore) -> None:
        """A ``msgspec.Struct`` is stored as the JSON object of its fields."""

        class LoanRequested(msgspec.Struct):
            amount: int
            currency: str = "EUR"

        await store.append(CASE, [NewEvent("LoanRequested", LoanRequested(20000))])
        assert (await history(store, CASE))[0].data == {"amount": 20000, "currency": "EUR"}

    async def test_bytes_come_back_unchanged(self, store: EventStore) -> None:
        """Bytes with a content type come back bit for bit."""
        blob = bytes(range(256)) * 4
        await store.append(CASE, [NewEvent("LetterScanned", blob, content_type="image/tiff")])
        (event,) = await history(store, CASE)
        assert (event.data, event.content_type) == (blob, "image/tiff")

    async def test_many_events_in_order(self, store: EventStore) -> None:
        """The events of one append stand in their given order, with versions and positions that rise."""
        given = loan(26)
        done = await store.append(CASE, given)
        events = await history(store, CASE)
        assert [event.id for event in events] == [event.id for event in given]
        assert [event.version for event in events] == list(range(1, 27))
        assert [event.type for event in events] == [step.type for step in HISTORY]
        assert (done.version, done.position) == (26, events[-1].position)
        assert all(after.position > before.position for before, after in itertools.pairwise(events))

    async def test_versions_go_on(self, store: EventStore) -> None:
        """Each append goes on where the stream stood, whatever other streams do."""
        for count in range(1, 6):
            done = await store.append(CASE, loan(2))
            other = await store.append("loan-173694", loan(1, case="loan-173694"))
            assert (done.version, other.version) == (2 * count, count)

    async def test_one_event_alone(self, store: EventStore) -> None:
        """A single event may be given without a list around it."""
        assert (await store.append(CASE, loan(1)[0])).version == 1

    async def test_read_your_writes(self, store: EventStore) -> None:
        """Who was told that an append is done finds it at once: in the stream, the log, by id and in the head."""
        for event in loan(10):
            done = await store.append(CASE, [event])
            assert (await history(store, CASE, after=done.version - 1))[0].id == event.id
            assert (await whole_log(store, after=done.position - 1))[0].id == event.id
            found = await store.event(event.id)
            assert found is not None
            assert found.position == done.position
            assert await store.head() >= done.position

    async def test_event_by_id(self, store: EventStore) -> None:
        """An event is found by its id, as UUID or text; an unknown id finds nothing."""
        event = loan(1)[0]
        await store.append(CASE, [event])
        by_text = await store.event(str(event.id))
        assert by_text is not None
        assert (by_text.stream, by_text.data) == (CASE, event.data)
        assert await store.event(event.id) == by_text
        assert await store.event(uuid.uuid4()) is None

    async def test_no_stream_but_tags(self, store: EventStore) -> None:
        """Events may belong to no stream: they have tags, a position, and no version."""
        given = loan(2)
        done = await store.append(None, given)
        events = await whole_log(store)
        assert [(event.stream, event.version, event.category) for event in events] == [(None, 0, None)] * 2
        assert (done.version, done.position) == (0, events[-1].position)
        assert [info async for info in store.streams()] == []

    async def test_several_streams_at_once(self, store: EventStore) -> None:
        """``append_all`` appends to several streams and says for each where it stands."""
        needs(store, "atomic_streams")
        await store.append(CASE, loan(3))
        results = await store.append_all(
            [Append(CASE, loan(1, skip=3), 3), Append("offer-1", loan(2), NO_STREAM), Append(None, loan(1))]
        )
        assert [result.version for result in results] == [4, 2, 0]
        log = await whole_log(store)
        assert [result.position for result in results] == [log[3].position, log[5].position, log[6].position]

    async def test_several_streams_all_or_none(self, store: EventStore) -> None:
        """One refused part of ``append_all`` refuses the whole: nothing of it is ever seen."""
        needs(store, "atomic_streams")
        await store.append(CASE, loan(3))
        before = await whole_log(store)
        with pytest.raises(WrongExpectedVersion) as refused:
            await store.append_all([Append("offer-1", loan(2), NO_STREAM), Append(CASE, loan(1), 2)])
        assert (refused.value.stream, refused.value.expected, refused.value.actual) == (CASE, 2, 3)
        assert await whole_log(store) == before
        assert await store.stream("offer-1") is None

    async def test_append_only(self, store: EventStore) -> None:
        """Nothing that is done later changes an event that was stored."""
        await store.append(CASE, loan(5))
        before = await whole_log(store)
        await store.append(CASE, loan(5, skip=5))
        await store.append("loan-2", loan(1))
        if store.capabilities.stream_policies:
            await store.set_policy(CASE, max_count=1)
            await store.delete_stream(CASE)
        await store.append(CASE, loan(1))
        assert (await whole_log(store))[: len(before)] == before

    async def test_durable_over_closing(self, open_store: OpenStore) -> None:
        """A store that is closed and opened again holds the same events and the same identity."""
        async with open_store() as first:
            needs(first, "durable")
            done = await first.append(CASE, loan(26))
            before, identity = await whole_log(first), first.identity
        async with open_store() as second:
            assert await whole_log(second) == before
            assert second.identity == identity
            assert await second.append(CASE, loan(1), expected=done.version) == Appended(
                27, (await whole_log(second))[-1].position
            )

    async def test_two_openings_share_one_store(self, open_store: OpenStore) -> None:
        """What is appended through one opening of a store is read through another at once."""
        async with open_store() as writer, open_store() as reader:
            needs(writer, "shared")
            for count in range(1, 4):
                done = await writer.append(CASE, loan(1))
                assert len(await history(reader, CASE)) == count
                assert await reader.head() == done.position
            with pytest.raises(WrongExpectedVersion):
                await reader.append(CASE, loan(1), expected=2)
            await reader.append(CASE, loan(1), expected=3)
            assert told(await history(writer, CASE))[-1][1] == 4

    async def test_close_twice(self, store: EventStore) -> None:
        """Closing a store a second time does nothing."""
        await store.append(CASE, loan(1))
        await store.close()
        await store.close()
