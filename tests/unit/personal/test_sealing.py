"""What is sealed, what is refused because it could not be, and what every part of the house makes of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

import headwater as hw
from headwater import sync
from headwater.codecs import parts_of
from headwater.lifecycle import export_events, import_file
from headwater.lifecycle.remains import remains
from headwater.testing.consuming import Seen, caught_up
from headwater.typed import stored_shapes
from tests.unit.personal.people import ADA, CODEC, STREAM, Requested, urls
from tests.unit.projections.conftest import rows


def marked(data: Any, marks: Any, **more: Any) -> hw.NewEvent:
    return hw.NewEvent("LoanRequested", data, metadata={"personal_data": marks}, **more)


@pytest.mark.parametrize(
    ("event", "match"),
    [
        (marked({"name": "Ada"}, "all of it"), "not as marks of personal data"),
        (marked({"name": "Ada"}, {"/name": {"who": "112"}}), "not as marks of personal data"),
        (marked({"name": "Ada"}, {"name": {"subject": "112"}}), "names no place or no subject"),
        (marked({"name": "Ada"}, {"/name": {"subject": ""}}), "names no place or no subject"),
        (marked({"name": "Ada"}, {"/mail": {"subject": "112"}}), "has no value there"),
        (marked(["Ada"], {"/1": {"subject": "112"}}), "has no value there"),
        (marked(b"Ada", {"/name": {"subject": "112"}}, content_type="text/plain"), "no places to point to"),
        (marked({"name": "A" * 900_000}, {"/name": {"subject": "112"}}), "sealed \\(in bytes\\)"),
    ],
)
async def test_marks_that_cannot_be_followed_are_refused(event: hw.NewEvent, match: str) -> None:
    async with hw.connect("memory:", vault="memory:") as store:
        with pytest.raises(hw.InvalidEvent, match=match):
            await store.append(STREAM, event)
        assert await store.head() == 0


async def test_events_without_a_class_are_sealed_by_their_marks() -> None:
    async with hw.connect("memory:", vault="memory:") as store:
        marks = {"/name": {"subject": "112"}, "/people/1": {"subject": "113", "placeholder": ["nobody"]}}
        await store.append(STREAM, marked({"name": "Ada", "people": ["x", ["Bea", 7]]}, marks))
        (event,) = [each async for each in store.read(STREAM)]
        assert event.data == {"name": "Ada", "people": ["x", ["Bea", 7]]}
        await store.forget("113")
        (event,) = [each async for each in store.read(STREAM)]
        assert event.data == {"name": "Ada", "people": ["x", ["nobody"]]}
        assert event.metadata["personal_data"]["/people/1"]["forgotten"] is True


async def test_somebody_elses_metadata_of_that_name_are_left_alone(tmp_path: Path) -> None:
    """Events that were there before the store had a vault."""
    url, vault = urls(tmp_path)
    async with hw.connect(url) as store:
        for said in ("yes", {"/name": 1}):
            with pytest.raises(hw.InvalidEvent):
                await store.append(STREAM, marked({}, said))
        await store.append(STREAM, hw.NewEvent("LoanRequested", {}, metadata={"about": "personal_data"}))
    async with hw.connect(url, vault=vault) as store:
        assert [each.metadata async for each in store.read(STREAM)] == [{"about": "personal_data"}]
    assert parts_of(b'{"personal_data": "yes"}') == {}


async def test_a_codec_does_not_take_what_is_sealed_for_a_value(tmp_path: Path) -> None:
    url, vault = urls(tmp_path)
    async with hw.connect(url, vault=vault) as store:
        await store.append(STREAM, CODEC.encode(ADA))
    async with hw.connect(url) as store:
        (event,) = [each async for each in store.read(STREAM)]
        with pytest.raises(hw.UnreadableEvent, match="open the store with the vault"):
            CODEC.decode(event)
        (shape,) = await stored_shapes(store.read_all(), CODEC)
        assert shape.problem == "", "those who have the keys can read it"


async def test_copies_stay_sealed(tmp_path: Path) -> None:
    """An export, and the store that it is imported into, hold what the first store holds; the vault opens both."""
    url, vault = urls(tmp_path)
    copy = f"sqlite:///{tmp_path}/copy.db"
    file = tmp_path / "loans.jsonl"
    async with hw.connect(url, vault=vault) as store:
        await store.append(STREAM, CODEC.encode(ADA))
    async with hw.connect(url) as store:
        with file.open("wb") as out:
            await export_events(store, out)
    assert b"Ada" not in file.read_bytes()
    await import_file(str(file), copy)
    async with hw.connect(copy, vault=vault) as store:
        assert [body async for _, body in CODEC.read(store.read_all())] == [ADA]
        await store.forget("112")
    for each in (url, copy):
        async with hw.connect(each, vault=vault) as store:
            names = [body.name async for _, body in CODEC.read(store.read_all())]
            assert names == ["(forgotten)"]


async def test_what_was_read_can_be_appended_elsewhere(tmp_path: Path) -> None:
    """Opened events that are copied from store to store are sealed again; what is forgotten is copied as it is."""
    url, vault = urls(tmp_path)
    async with hw.connect(url, vault=vault) as store, hw.connect(f"{url}2", vault=vault) as other:
        await store.append(STREAM, [CODEC.encode(ADA), CODEC.encode(Requested("113", "Bea", 1))])
        await store.forget("113")
        async for event in store.read_all():
            copied = hw.NewEvent(event.type, event.data, id=event.id, metadata=event.metadata)
            await other.append(STREAM, copied)
        bodies = [body async for _, body in CODEC.read(other.read_all())]
        assert bodies == [ADA, Requested("113", "(forgotten)", 1)]
    async with hw.connect(f"{url}2") as blind:
        assert [b"Ada" in each.raw_data async for each in blind.read_all()] == [False, False]


class Names(hw.Projection):
    """Who asked for a loan."""

    name = "names"
    tables = "create table {names} (stream text primary key, name text not null)"

    @hw.handles("LoanRequested")
    def requested(self, event: hw.Event, view: hw.View) -> None:
        values = {"stream": event.stream, "name": event.data["name"]}
        view.execute("insert into {names} values (:stream, :name)", values)


class NamesAgain(Names):
    version = 2


async def test_in_transactions_and_in_read_models(postgres_schema_url: str) -> None:
    """An append in a caller's transaction is sealed. Handlers get what can be read, so a rebuilt table holds nothing
    of who is forgotten."""
    url, vault = postgres_schema_url, f"{postgres_schema_url}_keys"
    server = url.rpartition("schema=")[0].rstrip("&?")
    async with hw.connect(url, vault=vault) as store, hw.Projector(store, Names(), into=url) as names:
        async with await psycopg.AsyncConnection.connect(server) as connection, connection.transaction():
            await names.inline(connection).append(STREAM, CODEC.encode(ADA))
            await store.bind(connection).append("loan-2", CODEC.encode(Requested("113", "Bea", 1)))
        assert [body.name async for _, body in CODEC.read(store.read_all())] == ["Ada Lovelace", "Bea"]
        await names.catch_up()
        assert sorted(rows(url, "select name from names")) == [("Ada Lovelace",), ("Bea",)]
        done = await store.forget("112")
        assert done is not None
        assert "write-ahead log" in done.remains
        async with hw.Projector(store, NamesAgain(), into=url) as again:
            await again.rebuild()
            await again.switch()
        assert sorted(rows(url, "select name from names")) == [("(forgotten)",), ("Bea",)]
    async with hw.connect(url) as blind:
        assert [b"Ada" in each.raw_data async for each in blind.read_all()] == [False, False]
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'drop schema "{vault.rpartition("schema=")[2]}" cascade')


def test_the_same_without_asyncio(postgres_schema_url: str, tmp_path: Path) -> None:
    with sync.connect(postgres_schema_url, vault=urls(tmp_path)[1]) as store:
        with psycopg.connect(postgres_schema_url.rpartition("schema=")[0].rstrip("&?")) as connection:
            store.bind(connection).append(STREAM, CODEC.encode(ADA))
        assert [CODEC.decode(each) for each in store.read(STREAM)] == [ADA]


async def test_where_something_remains() -> None:
    """In events, in what is scheduled, in snapshots; sealed under keys that are there, gone, or of another vault; and
    with consumers."""
    async with hw.connect("memory:", vault="memory:") as store:
        await store.append(STREAM, CODEC.encode(ADA))
        await store.scheduled.add("loan-2", CODEC.encode(ADA), due=timedelta(days=1))
        await store.snapshots.save("names", 1, {"112": "Ada"}, subjects=["112"])
        await store.snapshots.save("ids", 1, {"applicants": ["112"]})
        await store.snapshots.save("bytes", 1, b"\x00")
        await store.append("applicant-112", hw.NewEvent("Called", {"by": ["anna"]}, metadata={"asked": {"by": "112"}}))
        await store.append("loan-3", hw.NewEvent("Called", {"about": 1120, "text": "112 calls"}))
        await caught_up(store, store.consumer("letters", Seen()))
        blind = hw.EventStore(store._backend._behind)  # type: ignore[attr-defined]

        async def found(known: hw.Subject | None) -> list[tuple[str, str, str]]:
            return [(each.place, each.name, each.found) async for each in remains(blind, "112", known, CODEC)]

        known = await store.subject("112")
        places = [("event", STREAM), ("scheduled", "loan-2"), ("snapshot", "names")]
        others = [("event", "applicant-112", "id"), ("snapshot", "ids", "id"), ("consumer", "letters", "handed out")]
        assert sorted(await found(known)) == sorted([*[(*each, "readable") for each in places], *others])
        await store.forget("112")
        gone = await store.subject("112")
        assert sorted(await found(gone)) == sorted([*[(*each, "destroyed") for each in places], *others])
        assert sorted(await found(None)) == sorted([*[(*each, "key unknown") for each in places], *others])
