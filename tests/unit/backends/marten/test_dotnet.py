"""The double of a .NET application behaves as Marten does: who wins, who loses, and which numbers are lost."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from tests.services.marten import MakeSchema, MartenSchema
from tests.services.marten_dotnet import DotNet
from tests.services.marten_events import Appended, Archived, Conflict, Missing, NetEvent, approved, requested
from tests.services.marten_traffic import stream_id, traffic

from headwater.backends.marten.compatible import METADATA

At = Callable[[str], Awaitable[None]]
Append = Callable[[At], Coroutine[Any, Any, Appended]]


async def go_on(step: str) -> None:
    pass


class Log:
    """Looks into the tables."""

    def __init__(self, made: MartenSchema) -> None:
        self.made = made

    async def rows(self, sql: str, *values: Any) -> list[Any]:
        async with await psycopg.AsyncConnection.connect(self.made.conninfo, autocommit=True) as connection:
            return await (await connection.execute(sql.replace("$", self.made.schema), values)).fetchall()

    async def gaps(self) -> list[int]:
        """The numbers that were drawn and are not there."""
        found = await self.rows(
            """SELECT n FROM (SELECT last_value, is_called FROM $.mt_events_sequence) AS drawn,
                generate_series(1, last_value) AS n
                WHERE is_called AND NOT EXISTS (SELECT FROM $.mt_events WHERE seq_id = n) ORDER BY n"""
        )
        return [number for (number,) in found]

    async def transactions(self) -> int:
        """How many are open that the application began last, or that hold a lock on the log."""
        found = await self.rows(
            """SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND xact_start IS NOT NULL
                AND (query LIKE %s OR pid IN (SELECT pid FROM pg_locks WHERE relation = '$.mt_events'::regclass))""",
            f"%{self.made.schema}%",
        )
        return int(found[0][0])

    async def waiting(self) -> bool:
        """Whether a statement on this schema waits for a lock."""
        found = await self.rows(
            "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s", f"%{self.made.schema}%"
        )
        return bool(found)


@asynccontextmanager
async def at_once(log: Log, first: Append, second: Append, step: str = "commit") -> AsyncIterator[list[Any]]:
    """What becomes of two appends: the second meets the first, which has come to ``step``. Errors are given, too."""
    reached, goes_on = asyncio.Event(), asyncio.Event()

    async def stop(at: str) -> None:
        if at == step:
            reached.set()
            await goes_on.wait()

    async with asyncio.timeout(20):
        one = asyncio.create_task(first(stop))
        await reached.wait()
        other = asyncio.create_task(second(go_on))
        while not await log.waiting() and not other.done():
            await asyncio.sleep(0.01)
        goes_on.set()
        yield await asyncio.gather(one, other, return_exceptions=True)


async def a_stream(dotnet: DotNet, events: int = 1) -> uuid.UUID:
    stream = uuid.uuid4()
    await dotnet.quick_append(stream, [requested() for _ in range(events)])
    return stream


VERSION_INDEX = "pk_mt_events_stream_and_version"


@pytest.mark.parametrize(
    ("lock", "expected", "sqlstate", "constraint", "gaps"),
    [
        (False, None, "23505", VERSION_INDEX, [3]),
        (False, 1, "23505", VERSION_INDEX, [3]),
        (True, 1, "MT003", None, []),
        (True, None, None, None, []),
    ],
)
async def test_two_quick_appends_to_one_stream(
    marten_schema: MakeSchema,
    lock: bool,
    expected: int | None,
    sqlstate: str | None,
    constraint: str | None,
    gaps: list[int],
) -> None:
    made = marten_schema()
    log = Log(made)
    async with made.dotnet() as dotnet:
        stream = await a_stream(dotnet)

        def append(at: At) -> Coroutine[Any, Any, Appended]:
            return dotnet.quick_append(stream, [approved()], expected, lock=lock, at=at)

        async with at_once(log, append, append) as (first, second):
            assert first == Appended(2, (2,))
            if sqlstate is None:
                assert second == Appended(3, (3,))
            else:
                assert (second.sqlstate, second.constraint) == (sqlstate, constraint)
                assert second.lost == ()  # it never learns them
        assert await log.gaps() == gaps


async def drawn(log: Log) -> int:
    ((last,),) = await log.rows("SELECT last_value FROM $.mt_events_sequence")
    return int(last)


async def test_two_quick_appends_that_make_one_stream(marten_schema: MakeSchema) -> None:
    made = marten_schema(identity="string")
    log = Log(made)
    async with made.dotnet() as dotnet:

        def append(at: At) -> Coroutine[Any, Any, Appended]:
            return dotnet.quick_append("loan-1", [requested()], at=at)

        async with at_once(log, append, append) as (first, second):
            assert first == Appended(1, (1,))
            assert (second.sqlstate, second.constraint) == ("23505", "pkey_mt_streams_id")
        assert await drawn(log) == 1  # before any number was drawn


async def test_two_rich_appends_to_one_stream(marten_schema: MakeSchema) -> None:
    made = marten_schema()
    log = Log(made)
    async with made.dotnet() as dotnet:
        stream = await a_stream(dotnet)

        def append(at: At) -> Coroutine[Any, Any, Appended]:
            return dotnet.rich_append(stream, [approved(), approved()], at=at)

        async with at_once(log, append, append) as (first, second):  # also where it expects no version
            assert first == Appended(3, (2, 3))
            assert (second.sqlstate, second.constraint) == ("23505", VERSION_INDEX)
            assert second.lost == (4, 5)
        await dotnet.quick_append(stream, [approved()])
        assert await log.gaps() == [4, 5]


async def test_a_rich_append_whose_number_is_drawn_first_may_commit_last(marten_schema: MakeSchema) -> None:
    made = marten_schema()
    log = Log(made)
    async with made.dotnet() as dotnet:
        one, other = uuid.uuid4(), uuid.uuid4()

        async def overtake(step: str) -> None:
            if step == "drawn":  # no transaction is open, no lock is held: nobody can tell that 1 is still to come
                assert await dotnet.quick_append(other, [requested()]) == Appended(1, (2,))
                assert await log.transactions() == 0
                assert await dotnet.high_water() == 0
                assert await log.gaps() == [1]

        assert await dotnet.rich_append(one, [requested()], at=overtake) == Appended(1, (1,))
        assert await log.gaps() == []
        assert await dotnet.high_water() == 2


async def test_a_rich_append_that_is_rolled_back_leaves_a_gap_which_a_tombstone_fills(
    marten_schema: MakeSchema,
) -> None:
    made = marten_schema()
    log = Log(made)
    async with made.dotnet() as dotnet:
        stream = await a_stream(dotnet)
        lost = (await dotnet.rich_append(stream, [approved(), approved()], commit=False)).numbers
        assert lost == (2, 3)
        assert await dotnet.quick_append(stream, [approved()]) == Appended(2, (4,))
        assert await log.gaps() == [2, 3]
        assert await dotnet.high_water() == 1
        assert await dotnet.high_water() == 1
        await dotnet.tombstone(lost)
        assert await log.gaps() == []
        assert await dotnet.high_water() == 4
        found = await log.rows(
            """SELECT seq_id, e.version, e.type, e.timestamp = '-infinity', data::text, s.version
                FROM $.mt_events e JOIN $.mt_streams s ON s.id = stream_id WHERE mt_dotnet_type LIKE '%%Tombstone%%'
                ORDER BY 1"""
        )
        assert found == [(number, number, "tombstone", True, "{}", 0) for number in lost]


async def test_a_gap_is_passed_over_and_noted(marten_schema: MakeSchema) -> None:
    made = marten_schema(identity="string")
    log = Log(made)
    async with made.dotnet() as dotnet:
        await dotnet.rich_append("loan-1", [requested()], commit=False)
        await dotnet.rich_append("loan-1", [requested()])
        assert await dotnet.high_water() == 0
        assert await dotnet.pass_over(2) == 2
        assert await log.rows("SELECT starting_sequence, ending_sequence FROM $.mt_high_water_skips") == [(0, 2)]
        await dotnet.quick_append("loan-1", [approved()])
        assert await dotnet.high_water() == 3


async def test_an_expected_version_that_is_wrong(marten_schema: MakeSchema) -> None:
    made = marten_schema()
    log = Log(made)
    async with made.dotnet() as dotnet:
        stream = await a_stream(dotnet)
        with pytest.raises(Conflict) as quick:
            await dotnet.quick_append(stream, [approved()], 2)
        assert quick.value.sqlstate == "MT003"
        with pytest.raises(Conflict) as quick:
            await dotnet.quick_append(uuid.uuid4(), [approved()], 2)
        assert quick.value.sqlstate == "MT003"
        assert await drawn(log) == 1
        with pytest.raises(Conflict) as rich:
            await dotnet.rich_append(stream, [approved()], 2)
        assert (rich.value.sqlstate, rich.value.lost) == (None, (2,))  # found by Marten itself, after it drew
        assert await dotnet.rich_append(stream, [approved()], 1) == Appended(2, (3,))
        assert await dotnet.quick_append(stream, [approved()], 2) == Appended(3, (4,))


async def test_exclusive_appends_wait_for_each_other(marten_schema: MakeSchema) -> None:
    made = marten_schema()
    log = Log(made)
    async with made.dotnet() as dotnet:
        stream = await a_stream(dotnet)

        def append(at: At) -> Coroutine[Any, Any, Appended]:
            return dotnet.exclusive_append(stream, [approved()], at=at)

        async with at_once(log, append, append, "locked") as both:
            assert both == [Appended(2, (2,)), Appended(3, (3,))]
        with pytest.raises(Missing):
            await dotnet.exclusive_append(uuid.uuid4(), [approved()])
        assert await drawn(log) == 3


async def test_rich_and_quick_appends_without_a_lock_may_deadlock(marten_schema: MakeSchema) -> None:
    made = marten_schema()
    log = Log(made)
    async with made.dotnet() as dotnet:
        stream = await a_stream(dotnet)

        def rich(at: At) -> Coroutine[Any, Any, Appended]:  # moves the stream first
            return dotnet.rich_append(stream, [approved()], at=at)

        def quick(at: At) -> Coroutine[Any, Any, Appended]:  # moves it last
            return dotnet.quick_append(stream, [approved()], at=at)

        async with at_once(log, rich, quick, "stream") as both:
            kinds = {type(each) for each in both}
        assert kinds == {Appended, psycopg.errors.DeadlockDetected}


async def test_an_archived_stream(marten_schema: MakeSchema) -> None:
    for conjoined in (False, True):
        made = marten_schema(conjoined=conjoined)
        log = Log(made)
        async with made.dotnet() as dotnet:
            stream = await a_stream(dotnet)
            await dotnet.archive(stream)
            assert await log.rows("SELECT s.is_archived, e.is_archived FROM $.mt_streams s, $.mt_events e") == [
                (True, True)
            ]
            for append in (dotnet.rich_append, dotnet.exclusive_append, dotnet.quick_append):
                with pytest.raises(Archived):
                    await append(stream, [approved()])


async def test_the_function_of_8_does_not_look_whether_a_stream_is_archived(marten_schema: MakeSchema) -> None:
    async with marten_schema(version=8).dotnet() as dotnet:
        stream = await a_stream(dotnet)
        await dotnet.archive(stream)
        assert await dotnet.quick_append(stream, [approved()]) == Appended(2, (2,))
        with pytest.raises(Archived):
            await dotnet.rich_append(stream, [approved()])


async def test_8_does_without_its_function_where_a_version_is_expected(marten_schema: MakeSchema) -> None:
    made = marten_schema(version=8)
    log = Log(made)
    async with made.dotnet() as dotnet:
        stream = await a_stream(dotnet)
        assert await dotnet.quick_append(stream, [approved()], 1) == Appended(2, (2,))
        with pytest.raises(Conflict) as conflict:
            await dotnet.quick_append(stream, [approved()], 1)
        assert (conflict.value.sqlstate, conflict.value.constraint) == ("23505", VERSION_INDEX)
        assert await drawn(log) == 3


async def test_a_stream_is_started_once_in_each_tenant(marten_schema: MakeSchema) -> None:
    made = marten_schema(identity="string", conjoined=True)
    log = Log(made)
    async with made.dotnet("north") as north, made.dotnet("south") as south:
        assert await north.start_stream_quick("loan-1", [requested(), approved()]) == Appended(2, (1, 2))
        assert await south.start_stream_quick("loan-1", [requested()]) == Appended(1, (3,))
        with pytest.raises(Conflict) as conflict:
            await north.start_stream_quick("loan-1", [requested()])
        assert conflict.value.constraint == "pkey_mt_streams_tenant_id_id"
        assert await drawn(log) == 3
        assert await south.rich_append("loan-1", [approved()], 1) == Appended(2, (4,))
        assert await south.exclusive_append("loan-1", [approved()]) == Appended(3, (5,))
        await south.tombstone((await south.rich_append("loan-1", [approved()], commit=False)).numbers)
        await south.archive("loan-1")
        assert await log.rows("SELECT tenant_id, id, type, version, is_archived FROM $.mt_streams ORDER BY 1, 2") == [
            ("north", "loan-1", "loan", 2, False),
            ("south", "loan-1", "loan", 3, True),
            ("south", "mt_tombstone", None, 0, False),
        ]


async def test_what_is_stored_of_an_event(marten_schema: MakeSchema) -> None:
    for version in (8, 9):
        made = marten_schema(identity="string", metadata=METADATA, version=version)
        log = Log(made)
        async with made.dotnet() as dotnet:
            kept = {"correlation": "co", "causation": "ca", "headers": {"Channel": "Branch"}, "user_name": "ines"}
            full, bare = requested(**kept), approved()
            await dotnet.quick_append("loan-quick", [full, bare])
            await dotnet.rich_append("loan-rich", [again(full), again(bare)])
            await dotnet.start_stream_quick("loan-start", [again(full), again(bare)])
            columns = "type, mt_dotnet_type, data, correlation_id, causation_id, user_name, headers::text"
            found = await log.rows(f"SELECT stream_id, version, {columns} FROM $.mt_events ORDER BY stream_id, version")
            facts = ("loan_requested", "Bank.Loans.LoanRequested, Bank.Loans", {"Applicant": "112", "Amount": 20_000})
            others = ("loan_approved", "Bank.Loans.LoanApproved, Bank.Loans", {"By": "Ines Löwe", "Rate": 3.75})
            for stream, none in (("loan-quick", "null"), ("loan-rich", None), ("loan-start", None)):
                assert found.pop(0) == (stream, 1, *facts, "co", "ca", "ines", '{"Channel": "Branch"}')
                assert found.pop(0) == (stream, 2, *others, None, None, None, none)
            ids = {row[0] for row in await log.rows("SELECT id FROM $.mt_events WHERE stream_id = 'loan-quick'")}
            assert ids == {full.id, bare.id}
            ((oldest, newest),) = await log.rows("SELECT min(timestamp), max(timestamp) FROM $.mt_events")
            assert datetime.now(UTC) - timedelta(minutes=1) < oldest <= newest < datetime.now(UTC)


def again(event: NetEvent) -> NetEvent:
    """The same event under another id."""
    return NetEvent(
        type=event.type,
        dotnet_type=event.dotnet_type,
        data=event.data,
        headers=event.headers,
        correlation=event.correlation,
        causation=event.causation,
        user_name=event.user_name,
    )


async def test_only_the_function_moves_the_time_of_a_stream(marten_schema: MakeSchema) -> None:
    made = marten_schema()
    log = Log(made)
    async with made.dotnet() as dotnet:
        stream = await a_stream(dotnet)
        times = "SELECT timestamp - created FROM $.mt_streams"
        ((at_first,),) = await log.rows(times)
        await dotnet.rich_append(stream, [approved()])
        assert await log.rows(times) == [(at_first,)]
        await dotnet.quick_append(stream, [approved()])
        ((moved,),) = await log.rows(times)
        assert moved > at_first


async def test_times_of_8_are_wrong_where_the_session_is_not_at_utc(marten_schema: MakeSchema) -> None:
    made = marten_schema(version=8)
    log = Log(made)
    conninfo = psycopg.conninfo.make_conninfo(made.conninfo, options="-c timezone=Etc/GMT-3")
    async with DotNet(conninfo, made.options) as dotnet:
        await dotnet.quick_append(uuid.uuid4(), [requested()])
        ((timestamp,),) = await log.rows("SELECT timestamp FROM $.mt_events")
        assert timedelta(hours=2, minutes=59) < datetime.now(UTC) - timestamp < timedelta(hours=3, minutes=1)


async def test_an_event_is_masked_in_its_place(marten_schema: MakeSchema) -> None:
    made = marten_schema()
    log = Log(made)
    async with made.dotnet() as dotnet:
        event = requested()
        await dotnet.quick_append(uuid.uuid4(), [event])
        await dotnet.mask(event.id, {"Applicant": "***", "Amount": 20_000})
        assert await log.rows("SELECT seq_id, id, data ->> 'Applicant' FROM $.mt_events") == [(1, event.id, "***")]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"identity": "string", "conjoined": True, "metadata": METADATA, "unique_ids": True},
        {"version": 8, "metadata": ("headers",)},
    ],
)
async def test_traffic_leaves_streams_without_holes_and_a_log_with_some(
    marten_schema: MakeSchema, fields: dict[str, Any]
) -> None:
    made = marten_schema(**fields)
    log = Log(made)
    async with made.dotnet("north" if made.options.conjoined else "*DEFAULT*") as dotnet:
        done = await traffic(dotnet, 2.0)
    stored = await log.rows("SELECT stream_id, version, id FROM $.mt_events WHERE type <> 'tombstone'")
    assert len(done) > 10
    assert sorted(map(str, stored)) == sorted(map(str, map(tuple, done)))
    versions = defaultdict(set)
    for stream, version, _ in done:
        versions[stream].add(version)
    assert all(found == set(range(1, len(found) + 1)) for found in versions.values())
    assert versions[stream_id(made.options, "loan-shared-0-0")]
    heads = dict(await log.rows("SELECT id, version FROM $.mt_streams"))
    assert {stream: max(found) for stream, found in versions.items()}.items() <= heads.items()
    assert await log.gaps()
    assert await log.rows("SELECT FROM $.mt_events WHERE type = 'tombstone'")
