"""The vault: one key a person, by however many processes; a key that is gone is gone from the file too."""

from __future__ import annotations

import asyncio
import base64
import os
import sqlite3
from pathlib import Path

import msgspec
import pytest

import headwater as hw
from headwater import sync
from headwater.connect import open_store
from headwater.limits import Limits
from headwater.personal import MasterKey
from headwater.personal.vault import KEPT_MAX, Vault
from tests.unit.personal.people import ADA, CODEC, RULE, STREAM, Loan, Paid, Requested, urls


async def test_many_at_once_make_one_key(tmp_path: Path) -> None:
    vaults = [Vault((await open_store(urls(tmp_path)[1]))._backend, Limits()) for _ in range(4)]
    keys = await asyncio.gather(*[vault.present(["112"]) for vault in vaults for _ in range(5)])
    assert len({each["112"] for each in keys}) == 1
    for vault in vaults:
        await vault.close()


async def test_names_that_begin_alike_are_different_people(tmp_path: Path) -> None:
    vault = Vault((await open_store(urls(tmp_path)[1]))._backend, Limits())
    keys = await vault.present(["1", "11", "1/", "1//", "ü"])
    assert len({secret for _, secret in keys.values()}) == 5
    assert [each.subject async for page in vault.subjects() for each in page] == ["1", "1/", "1//", "11", "ü"]
    assert await vault.forget("1") is not None
    told = [await vault.subject(name) for name in ("1", "1/", "11", "2")]
    assert [each and bool(each.key) for each in told] == [False, True, True, None]
    await vault.close()


async def test_a_key_leaves_the_file_when_it_is_destroyed(tmp_path: Path) -> None:
    """Not only the row: no byte of it stands anywhere in the file or in its write-ahead log."""
    url, vault = urls(tmp_path)
    async with hw.connect(url, vault=vault) as store:
        for applicant in range(50):
            await store.append(STREAM, CODEC.encode(Requested(f"{applicant}", "Ada", 1)))
        with sqlite3.connect(tmp_path / "keys.db") as raw:
            ((value,),) = raw.execute("select value from records where name = 'subjects/7/'").fetchall()
        wrapped = msgspec.json.decode(value)["wrapped"].encode()
        files = [tmp_path / "keys.db", tmp_path / "keys.db-wal"]
        assert any(wrapped in file.read_bytes() for file in files)
        raw.close()
        done = await store.forget("7")
        assert done is not None
        assert done.remains == ""
        assert not any(wrapped in file.read_bytes() for file in files if file.exists())


async def test_another_process_sees_a_key_go_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, vault = urls(tmp_path)
    async with hw.connect(url, vault=vault) as store, hw.connect(url, vault=vault) as other:
        await store.append(STREAM, CODEC.encode(ADA))
        names = [body.name async for _, body in CODEC.read(other.read(STREAM))]
        await store.forget("112")
        names += [body.name async for _, body in CODEC.read(other.read(STREAM))]
        assert names == ["Ada Lovelace", "Ada Lovelace"], "kept for a while"
        later = hw.personal.vault.time.monotonic() + hw.personal.KEEP_SECONDS + 1  # type: ignore[attr-defined]
        monkeypatch.setattr("headwater.personal.vault.time.monotonic", lambda: later)
        assert [body.name async for _, body in CODEC.read(other.read(STREAM))] == ["(forgotten)"]
        await store.append(STREAM, CODEC.encode(ADA))
        assert [body.name async for _, body in CODEC.read(other.read(STREAM))] == ["(forgotten)", "Ada Lovelace"], (
            "a new key is looked for at once"
        )


async def test_memory_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.personal.vault.KEPT_MAX", 10)
    vault = Vault((await open_store("memory:"))._backend, Limits())
    first = await vault.present(map(str, range(100)))
    assert len(vault._known) == 10
    assert await vault.present(map(str, range(100))) == first
    assert KEPT_MAX == 10_000


class Service:
    """A key management service, as far as a test needs one: it counts, and can be away."""

    name = "kms"

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.away = False

    async def wrap(self, secret: bytes, subject: str) -> bytes:
        await asyncio.sleep(0)
        self.calls.append(f"wrap {subject}")
        return bytes(each ^ 0x5A for each in secret)

    async def unwrap(self, wrapped: bytes, subject: str) -> bytes:
        await asyncio.sleep(0)
        if self.away:
            raise hw.StoreUnavailable("the key service is away", "Try again.")
        self.calls.append(f"unwrap {subject}")
        return bytes(each ^ 0x5A for each in wrapped)


async def test_a_key_service_is_asked_once_a_person(tmp_path: Path) -> None:
    url, vault = urls(tmp_path)
    service = Service()
    async with hw.connect(url, vault=vault, wrapper=service) as store:
        await store.append(STREAM, CODEC.encode(ADA))
        await store.append(STREAM, CODEC.encode(ADA))
        assert service.calls == ["wrap 112"]
    async with hw.connect(url, vault=vault, wrapper=service) as store:
        for _ in range(3):
            assert [body async for _, body in CODEC.read(store.read(STREAM))] == [ADA, ADA]
        assert service.calls == ["wrap 112", "unwrap 112"]
    service.away = True
    async with hw.connect(url, vault=vault, wrapper=service) as store:
        with pytest.raises(hw.StoreUnavailable, match="key service is away"):
            [each async for each in store.read(STREAM)]
        assert await store.forget("112") is not None, "to destroy a key nobody needs to open it"


async def test_the_wrong_wrapper_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, vault = urls(tmp_path)
    monkeypatch.setenv("LOANS_KEY", base64.b64encode(os.urandom(32)).decode())
    async with hw.connect(url, vault=vault, wrapper=MasterKey.from_environment("LOANS_KEY")) as store:
        await store.append(STREAM, CODEC.encode(ADA))
        assert [body async for _, body in CODEC.read(store.read(STREAM))] == [ADA]
    for wrapper, match in ((None, "wrapped by 'master'"), (MasterKey(bytes(32)), "does not open the vault's keys")):
        async with hw.connect(url, vault=vault, wrapper=wrapper) as store:
            with pytest.raises(hw.StoreUnavailable, match=match):
                [each async for each in store.read(STREAM)]
    monkeypatch.setenv("LOANS_KEY", "no base64!")
    for variable, match in (("LOANS_KEY", "no base64"), ("NOT_SET", "is not set")):
        with pytest.raises(hw.HeadwaterError, match=match):
            MasterKey.from_environment(variable)
    with pytest.raises(hw.HeadwaterError, match="has 32 bytes"):
        MasterKey(b"short")


def test_without_asyncio_by_a_service_that_suspends(tmp_path: Path) -> None:
    url, vault = urls(tmp_path)
    with sync.connect(url, vault=vault, wrapper=Service()) as store:
        store.append(STREAM, CODEC.encode(ADA))
        assert [CODEC.decode(each) for each in store.read(STREAM)] == [ADA]
        assert [each.subject for each in store.subjects()] == ["112"]
        assert store.forget("112") is not None
        assert store.subject("112") is not None


async def test_the_store_is_not_its_own_vault(tmp_path: Path) -> None:
    with pytest.raises(hw.BadUrl, match="of their own"):
        await hw.connect(urls(tmp_path)[0], vault=urls(tmp_path)[0])
    with pytest.raises(hw.BadUrl):
        await hw.connect("memory:", vault="nosuch:thing")


async def test_states_with_people_are_kept_sealed_and_lost_with_them(tmp_path: Path) -> None:
    """The repository's snapshots need no mark of their own: whoever was in the events is in the state."""
    url, vault = urls(tmp_path)
    async with hw.connect(url, vault=vault) as store:
        loans = hw.Repository(store, CODEC, RULE, snapshots=hw.SnapshotEvery(events=2))

        async def told(*events: object) -> None:
            for event in events:
                await loans.execute(STREAM, event)
                await loans.settle()
            await loans.load(STREAM)
            await loans.settle()

        await told(ADA, Paid(10), Paid(10), Paid(10))
        (snapshot,) = [each async for each in store.snapshots.all()]
        assert b"Ada" not in snapshot.raw_state
        again = await loans.load(STREAM)
        assert (again.state, again.replayed) == (Loan("Ada Lovelace", 30), 0)
        await told(Paid(10), Paid(10))  # the next snapshot is made of this one, and of no event of hers
        await store.forget("112")
        forgotten = await loans.load(STREAM)
        assert (forgotten.state, forgotten.replayed) == (Loan("(forgotten)", 50), 6)
        await loans.settle()
        (snapshot,) = [each async for each in store.snapshots.all()]
        assert b"(forgotten)" in snapshot.raw_state, "nothing personal is in it any more"


@pytest.mark.parametrize("change", ["value", "event", "pointer", "no base64", "gone"])
async def test_what_was_tampered_with_is_not_opened(change: str) -> None:
    """A sealed value opens where it was sealed, or not at all."""
    async with hw.connect("memory:", vault="memory:") as store:
        await store.append(STREAM, [CODEC.encode(ADA), CODEC.encode(Requested("112", "Ada King", 1))])
        stored = store._backend._behind._log  # type: ignore[attr-defined]
        first, second = stored
        data, other = first.data, second.data
        marks = first.metadata
        if change == "value":
            data["name"] = data["name"][:-5] + ("A" if data["name"][-5] != "A" else "B") + data["name"][-4:]
        elif change == "event":
            data["name"] = other["name"]
        elif change == "pointer":
            data["who"] = data.pop("name")
            marks["personal_data"] = {"/who": marks["personal_data"]["/name"]}
        elif change == "no base64":
            data["name"] = 7
        else:
            del data["name"]
        changed = msgspec.structs.replace(
            first, raw_data=msgspec.json.encode(data), raw_metadata=msgspec.json.encode(marks)
        )
        stored[0] = changed
        with pytest.raises(hw.CorruptStore, match="can't be opened"):
            [each async for each in store.read_all(limit=1)]
