"""What .NET has stored, read here; what is appended here, as .NET finds it."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from tests.services.marten import MakeSchema
from tests.services.marten_dotnet import DotNet
from tests.services.marten_events import Archived, Conflict, approved, disbursed, requested
from tests.unit.backends.marten.conftest import Connecting, Rows

import headwater as hw
from headwater.queries import Query, QueryItem
from headwater.testing.conformance.fixtures import history, whole_log

LOAN = "loan-173688"


async def test_what_dotnet_has_stored(dotnet: DotNet, store: hw.EventStore) -> None:
    facts = {"correlation": "request-7", "causation": "command-9", "user_name": "ines", "headers": {"Branch": "Delft"}}
    event = requested(20_000, "112", **facts)
    await dotnet.quick_append(LOAN, [event, approved()])
    first, second = await history(store, LOAN)
    assert (first.type, second.type) == ("LoanRequested", "LoanApproved")
    assert (first.stream, first.version, first.id) == (LOAN, 1, event.id)
    assert first.data == {"applicant": "112", "amount": 20_000}
    assert first.metadata == {
        "correlation_id": "request-7",
        "causation_id": "command-9",
        "user_name": "ines",
        "Branch": "Delft",
    }
    assert second.metadata == {}
    assert abs(first.recorded_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert await store.event(event.id) == first
    assert [event.id for event in await whole_log(store, query=Query([QueryItem(types=["LoanApproved"])]))] == [
        second.id
    ]


async def test_what_dotnet_finds(dotnet: DotNet, store: hw.EventStore, rows: Rows) -> None:
    """Alias, casing, class, metadata, time and the stream's row are as Marten itself would have written them."""
    await dotnet.start_stream_quick("loan-1", [requested()])  # so that the class's name is known
    metadata = {"correlation_id": "request-7", "causation_id": "command-9", "user_name": "anna", "branch": "Delft"}
    event = hw.NewEvent("LoanRequested", {"applicant": "112", "amount": 20_000}, metadata=metadata)
    await store.append(LOAN, [event, hw.NewEvent("RateFixed", {"rate_percent": 3.75})])
    columns = "type, data, mt_dotnet_type, correlation_id, causation_id, user_name, headers, is_archived, tenant_id"
    first, second = await rows(f"SELECT {columns} FROM {{}}.mt_events WHERE stream_id = %s ORDER BY version", LOAN)
    assert first == (
        "loan_requested",
        {"Applicant": "112", "Amount": 20_000},
        "Bank.Loans.LoanRequested, Bank.Loans",
        "request-7",
        "command-9",
        "anna",
        {"branch": "Delft"},
        False,
        "*DEFAULT*",
    )
    assert second[:3] == ("rate_fixed", {"RatePercent": 3.75}, "")
    head = "version, type, is_archived, now() - timestamp < interval '1 minute'"
    assert await rows(f"SELECT {head} FROM {{}}.mt_streams WHERE id = %s", LOAN) == [(2, None, False, True)]
    ages = await rows("SELECT now() - timestamp < interval '1 minute' FROM {}.mt_events WHERE stream_id = %s", LOAN)
    assert ages == [(True,), (True,)]  # the default would be the time of the table
    await dotnet.rich_append(LOAN, [approved()], expected=2)
    assert [event.type for event in await history(store, LOAN)] == ["LoanRequested", "RateFixed", "LoanApproved"]


async def test_both_take_turns(dotnet: DotNet, store: hw.EventStore, rows: Rows) -> None:
    """Whoever has not seen the other's event is refused, and draws no number in vain."""
    await store.append(LOAN, hw.NewEvent("LoanRequested", {}), expected=hw.NO_STREAM)
    await dotnet.quick_append(LOAN, [approved()], expected=1)
    with pytest.raises(hw.WrongExpectedVersion) as refused:
        await store.append(LOAN, hw.NewEvent("LoanDisbursed", {}), expected=1)
    assert (refused.value.stream, refused.value.actual) == (LOAN, 2)
    await store.append(LOAN, hw.NewEvent("LoanDisbursed", {}), expected=2)
    with pytest.raises(Conflict):
        await dotnet.quick_append(LOAN, [approved()], expected=2)
    with pytest.raises(hw.WrongExpectedVersion):
        await store.append(LOAN, hw.NewEvent("LoanRequested", {}), expected=hw.NO_STREAM)
    assert await rows("SELECT last_value FROM {}.mt_events_sequence") == [(3,)]
    assert [event.position for event in await whole_log(store)] == [1, 2, 3]


@pytest.mark.parametrize("way", ["rich", "quick", "exclusive"])
async def test_a_writer_in_the_middle_is_waited_for(dotnet: DotNet, store: hw.EventStore, way: str) -> None:
    """What it is about to commit decides whether our version fits."""
    await dotnet.quick_append(LOAN, [requested()])
    go_on = asyncio.Event()
    there = asyncio.Event()

    async def at(step: str) -> None:
        if step == "inserted":
            there.set()
            await go_on.wait()

    ways = {"rich": dotnet.rich_append, "quick": dotnet.quick_append, "exclusive": dotnet.exclusive_append}
    writing = asyncio.create_task(ways[way](LOAN, [approved()], at=at))
    await there.wait()
    ours = asyncio.create_task(store.append(LOAN, hw.NewEvent("LoanDisbursed", {}), expected=1))
    await asyncio.sleep(0.05)
    assert not ours.done()
    go_on.set()
    await writing
    with pytest.raises(hw.WrongExpectedVersion):
        await ours
    assert (await store.append(LOAN, hw.NewEvent("LoanDisbursed", {}), expected=2)).version == 3


async def test_nobody_waits_for_ever(dotnet: DotNet, store: hw.EventStore) -> None:
    """A writer of .NET's that read the version before we locked it stores the same one: it waits for us, we for it."""
    await store.append(LOAN, hw.NewEvent("LoanRequested", {}))
    results = await asyncio.gather(
        *(dotnet.quick_append(LOAN, [approved()]) for _ in range(20)),
        *(store.append(LOAN, hw.NewEvent("NoteTaken", {"number": number})) for number in range(20)),
        return_exceptions=True,
    )
    assert [each for each in results[20:] if isinstance(each, BaseException)] == []
    assert all(isinstance(each, Conflict) or not isinstance(each, BaseException) for each in results[:20])
    stored = await history(store, LOAN)
    assert [event.version for event in stored] == list(range(1, len(stored) + 1))
    assert [event.position for event in stored] == sorted(event.position for event in stored)


async def test_archived_streams(dotnet: DotNet, store: hw.EventStore) -> None:
    """Archived there is tombstoned here, and the other way round. The log still shows their events."""
    await dotnet.quick_append(LOAN, [requested()])
    await dotnet.archive(LOAN)
    assert await history(store, LOAN) == []
    info = await store.stream(LOAN)
    assert info is not None
    assert (info.state, info.version) == ("tombstoned", 1)
    with pytest.raises(hw.StreamDeleted):
        await store.append(LOAN, hw.NewEvent("LoanDisbursed", {}))
    await store.append("loan-2", hw.NewEvent("LoanRequested", {}))
    await store.tombstone_stream("loan-2")
    for way in (dotnet.quick_append, dotnet.rich_append):
        with pytest.raises(Archived):
            await way("loan-2", [disbursed()])
    assert [event.stream for event in await whole_log(store)] == [LOAN, "loan-2"]


async def test_masked_and_skipped(dotnet: DotNet, store: hw.EventStore, rows: Rows, connecting: Connecting) -> None:
    """What .NET has changed in place is shown as it is now, also where we keep the very bytes beside it."""
    note = hw.NewEvent("NoteTaken", {"Text": "\u0000 seen by Ines", "small": 1e-300})
    await store.append(LOAN, [note, hw.NewEvent("LoanRequested", {})])
    assert (await history(store, LOAN))[0].data == {"Text": "\u0000 seen by Ines", "small": 1e-300}
    await dotnet.mask(note.id, {"Text": "****"})
    assert (await history(store, LOAN))[0].data == {"text": "****"}
    await rows("ALTER TABLE {}.mt_events ADD COLUMN is_skipped boolean DEFAULT false")
    await rows("UPDATE {}.mt_events SET is_skipped = true WHERE version = 1")
    async with connecting() as again:
        assert [event.type for event in await whole_log(again)] == ["LoanRequested"]


async def test_tombstones_are_not_events(dotnet: DotNet, store: hw.EventStore) -> None:
    appended = await dotnet.rich_append(LOAN, [requested()], commit=False)
    await dotnet.tombstone(appended.numbers)
    await dotnet.quick_append(LOAN, [requested()])
    assert [event.position for event in await whole_log(store)] == [2]
    assert [info.name async for info in store.streams()] == [LOAN]
    assert await store.head() == 2


async def test_binary_payloads(store: hw.EventStore, rows: Rows, connecting: Connecting) -> None:
    """Bytes go where Marten 9.3 keeps them. For an application without that column they are refused."""
    await store.append(LOAN, hw.NewEvent("LetterScanned", b"\x00II*", content_type="image/tiff"))
    assert await rows("SELECT data, bdata FROM {}.mt_events") == [({}, b"\x00II*")]
    await rows("UPDATE {}.mt_events SET bdata = 'other'")
    assert (await history(store, LOAN))[0].data == b"other"
    await rows("ALTER TABLE {}.mt_events DROP COLUMN bdata")
    async with connecting() as older:
        with pytest.raises(hw.InvalidEvent, match="JSON only"):
            await older.append(LOAN, hw.NewEvent("LetterScanned", b"", content_type="image/tiff"))


async def test_a_type_that_its_alias_does_not_tell(store: hw.EventStore, rows: Rows) -> None:
    """``URLChanged`` and ``UrlChanged`` share an alias in .NET; here, each is found by its own name."""
    await store.append(LOAN, [hw.NewEvent("URLChanged", {}), hw.NewEvent("UrlChanged", {})])
    assert await rows("SELECT DISTINCT type FROM {}.mt_events") == [("url_changed",)]
    for kind in ("URLChanged", "UrlChanged"):
        assert [event.type for event in await whole_log(store, query=Query([QueryItem(types=[kind])]))] == [kind]
    condition = hw.AppendCondition(Query([QueryItem(types=["urlChanged"])]))
    await store.append(LOAN, hw.NewEvent("NoteTaken", {}), condition=condition)


@pytest.mark.parametrize("said", [{}, {"append": "no"}, {"append": "NoteTaken"}, {"append": "note_taken"}])
async def test_appends_need_a_yes(connecting: Connecting, rows: Rows, said: dict[str, str]) -> None:
    """Nothing is appended, and no stream archived, unless the URL says so."""
    async with connecting(**({"append": "no"} | said)) as store:
        with pytest.raises(hw.NotSupported, match="inline projections"):
            await store.append(LOAN, hw.NewEvent("LoanRequested", {}))
        with pytest.raises(hw.NotSupported, match="append=yes"):
            await store.tombstone_stream(LOAN)
        if "ote" in said.get("append", ""):
            await store.append(LOAN, hw.NewEvent("NoteTaken", {}))
    assert await rows("SELECT count(*) FROM {}.mt_events") == [(int("ote" in said.get("append", "")),)]


async def test_conditions_see_what_dotnet_commits(dotnet: DotNet, store: hw.EventStore) -> None:
    """A condition waits for writers that are about to commit a match, and lets none in between."""
    go_on, there = asyncio.Event(), asyncio.Event()

    async def at(step: str) -> None:
        if step == "inserted":
            there.set()
            await go_on.wait()

    writing = asyncio.create_task(dotnet.rich_append(LOAN, [requested()], at=at))
    await there.wait()
    condition = hw.AppendCondition(Query([QueryItem(types=["LoanRequested"])]))
    ours = asyncio.create_task(store.append("loan-2", hw.NewEvent("LoanRequested", {}), condition=condition))
    await asyncio.sleep(0.1)
    assert not ours.done()
    go_on.set()
    await writing
    with pytest.raises(hw.AppendConditionFailed) as failed:
        await ours
    assert failed.value.position == 1


async def test_streams_named_by_guid(marten_schema: MakeSchema) -> None:
    """The name is the stream's type and its GUID; another category of the same GUID is no stream."""
    application = marten_schema(identity="guid")
    one, other = uuid.uuid4(), uuid.uuid4()
    async with application.dotnet() as dotnet, hw.connect(application.url()) as store:
        await dotnet.start_stream_quick(one, [requested(), approved()])  # StartStream<Loan>
        await dotnet.rich_append(other, [requested()])  # Append: without a type
        assert [info.name async for info in store.streams()] == sorted([f"loan-{one}", f"stream-{other}"])
        assert await store.categories() == {"loan": 1, "stream": 1}
        assert [event.type for event in await history(store, f"loan-{one}")] == ["LoanRequested", "LoanApproved"]
        assert await history(store, f"offer-{one}") == await history(store, "loan-1") == []
        assert await store.stream(f"offer-{one}") is None
        assert (await store.append(f"loan-{one}", hw.NewEvent("LoanDisbursed", {}), expected=2)).version == 3
        with pytest.raises(hw.InvalidEvent, match=f"loan-{one}"):
            await store.append(f"offer-{one}", hw.NewEvent("OfferMade", {}))
        with pytest.raises(hw.InvalidEvent, match=f"loan-{one}"):
            await store.delete_stream(f"offer-{one}")
        with pytest.raises(hw.InvalidEvent, match="GUID"):
            await store.append("loan-173688", hw.NewEvent("LoanRequested", {}))
        fresh = f"offer-{uuid.uuid4()}"
        await store.append(fresh, hw.NewEvent("OfferMade", {}, tags=["applicant:112"]), expected=hw.NO_STREAM)
        await store.append(None, hw.NewEvent("RateChanged", {}, tags=["product:car"]))
        by_stream = await whole_log(store, query=Query([QueryItem(streams=[f"loan-{one}", fresh])]))
        assert [event.stream for event in by_stream] == [f"loan-{one}"] * 3 + [fresh]
        by_category = await whole_log(store, query=Query([QueryItem(categories=["offer"])]))
        assert [(event.stream, event.tags) for event in by_category] == [(fresh, ("applicant:112",))]
        assert [(event.stream, event.version) for event in await whole_log(store)][-1] == (None, 0)
        await store.set_policy(fresh, max_count=1)
        await store.tombstone_stream(f"stream-{other}")
        with pytest.raises(hw.StreamDeleted):
            await store.append(f"stream-{other}", hw.NewEvent("NoteTaken", {}))
        with pytest.raises(Archived):
            await dotnet.quick_append(other, [approved()])


async def test_each_tenant_has_a_store(marten_schema: MakeSchema) -> None:
    """Streams of one name, and consumers of one name, are each tenant's own; positions are shared."""
    application = marten_schema(identity="string", conjoined=True)
    async with (
        application.dotnet("north") as dotnet,
        hw.connect(application.url(tenant="north")) as north,
        hw.connect(application.url(tenant="south")) as south,
    ):
        await dotnet.quick_append(LOAN, [requested()])
        await south.append(LOAN, hw.NewEvent("LoanRequested", {"applicant": "7"}), expected=hw.NO_STREAM)
        await north.append(LOAN, hw.NewEvent("LoanApproved", {}), expected=1)
        assert [event.position for event in await whole_log(north)] == [1, 3]
        assert [event.position for event in await whole_log(south)] == [2]
        assert north.identity != south.identity
        await north.checkpoints.save("mails", 3)
        assert await south.checkpoints.load("mails") is None


async def test_tenants_of_any_name(marten_schema: MakeSchema) -> None:
    """What a tenant is called is never taken for SQL."""
    application = marten_schema(identity="string", conjoined=True)
    for tenant in ("O'Hara & Co.", "100 %s {schema}", "\\'; drop table mt_events; --", "Ångström 銀行"):
        async with application.dotnet(tenant) as dotnet, hw.connect(application.url(tenant=quote(tenant))) as store:
            await dotnet.quick_append(LOAN, [requested()])
            await store.append(LOAN, hw.NewEvent("LoanApproved", {}), expected=1)
            assert [event.type for event in await history(store, LOAN)] == ["LoanRequested", "LoanApproved"]
            assert [info.name async for info in store.streams(category="loan")] == [LOAN]
            assert len(await whole_log(store, query=Query([QueryItem(streams=[LOAN])]))) == 2
