"""Personal data: nobody reads them without the key, and once the key is gone nobody reads them at all."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

import headwater
from headwater.errors import InvalidEvent, MissingKey, NotSupported
from headwater.store import Append, EventStore
from headwater.testing.conformance.fixtures import OpenStore, StorePromises, needs, whole_log
from headwater.testing.consuming import Seen, caught_up
from headwater.testing.loans import CASE
from headwater.typed import Codec, Personal, event

__all__ = ["PersonalDataPromises"]


class Address(msgspec.Struct, frozen=True):
    """A part of an event with a part of its own that is personal."""

    street: Annotated[str, Personal(subject="applicant")]
    country: str


@event("LoanRequested", tags=lambda loan: [f"applicant:{loan.applicant}"])
class LoanRequested(msgspec.Struct, frozen=True):
    """An event about a person."""

    applicant: str
    name: Annotated[str, Personal(subject="applicant")]
    income: Annotated[int, Personal(subject="applicant", placeholder=0)]
    amount: int
    addresses: list[Address] = []


CODEC = Codec([LoanRequested])
ADA = LoanRequested("112", "Ada Lovelace", 61_000, 20_000, [Address("12 St James's Square", "GB")])
BEA = LoanRequested("113", "Beatrice Shilling", 48_000, 5_000)
SECRETS = [b"Ada Lovelace", b"61000", b"St James"]
FORGOTTEN = LoanRequested("112", "(forgotten)", 0, 20_000, [Address("(forgotten)", "GB")])


async def bodies(store: EventStore) -> list[object]:
    """All events of the log, as objects."""
    return [body async for _, body in CODEC.read(store.read_all())]


class PersonalDataPromises(StorePromises):
    """A store that was opened with a vault."""

    @pytest.fixture
    def vault(self, tmp_path: Path) -> str:
        """The URL of the vault."""
        pytest.importorskip("cryptography", reason="the extra `personal` is not installed")
        return f"sqlite:///{tmp_path}/keys.db"

    async def test_sealed_where_stored(self, open_store: OpenStore, vault: str) -> None:
        """With the vault an event reads as it was appended, by every way of reading."""
        async with open_store(vault=vault) as store:
            await store.append(CASE, [CODEC.encode(ADA)])
            (stored,) = await whole_log(store)
            ways = [stored, await store.event(stored.id), *[each async for each in store.read(CASE)]]
            assert [CODEC.decode(each) for each in ways if each is not None] == [ADA, ADA, ADA]
            assert stored.metadata["personal_data"]["/name"] == {"subject": "112"}

    async def test_sealed_without_the_vault(self, open_store: OpenStore, vault: str) -> None:
        """Without the vault nothing personal is to be seen, and the rest is."""
        async with open_store(vault=vault) as store, open_store() as blind:
            needs(store, "shared")
            await store.append(CASE, [CODEC.encode(ADA)])
            (event,) = await whole_log(blind)
            assert not [secret for secret in SECRETS if secret in event.raw_data + event.raw_metadata]
            assert (event.data["amount"], event.data["addresses"][0]["country"]) == (20_000, "GB")
            assert event.tags == ("applicant:112",)

    async def test_forget_a_person(self, open_store: OpenStore, vault: str) -> None:
        """Once a person is forgotten, readers get placeholders in place of what was theirs; others lose nothing."""
        async with open_store(vault=vault) as store:
            await store.append_all([Append(CASE, [CODEC.encode(ADA)]), Append("loan-2", [CODEC.encode(BEA)])])
            done = await store.forget("112")
            assert done is not None
            assert (done.subject, done.keys) == ("112", 1)
            assert await bodies(store) == [FORGOTTEN, BEA]
            assert await store.forget("112") == done, "a second time tells of the first"
            assert await store.forget("114") is None
        async with open_store(vault=vault) as store:
            known = await store.subject("112")
            assert known is not None
            assert (known.key, len(known.forgotten)) == ("", 1)
            assert [each.subject async for each in store.subjects()] == ["112", "113"]
            assert await bodies(store) == ([FORGOTTEN, BEA] if store.capabilities.durable else [])

    async def test_forgotten_and_back(self, open_store: OpenStore, vault: str) -> None:
        """What comes after somebody was forgotten is sealed under a new key; what was before stays unreadable."""
        async with open_store(vault=vault) as store:
            await store.append(CASE, [CODEC.encode(ADA)])
            await store.forget("112")
            await store.append(CASE, [CODEC.encode(ADA)])
            assert await bodies(store) == [FORGOTTEN, ADA]
            done = await store.forget("112")
            assert done is not None
            assert done.keys == 2
            assert await bodies(store) == [FORGOTTEN, FORGOTTEN]

    async def test_retry_of_sealed_events(self, open_store: OpenStore, vault: str) -> None:
        """An append that is repeated is a retry, though it is sealed anew."""
        new = CODEC.encode(ADA)
        async with open_store(vault=vault) as store:
            first = await store.append(CASE, [new])
            again = await store.append(CASE, [new])
            assert again.duplicate
            assert again.position == first.position
            assert await bodies(store) == [ADA]

    async def test_no_vault(self, store: EventStore) -> None:
        """A store without a vault refuses personal data, and stores nothing."""
        with pytest.raises(InvalidEvent, match="vault="):
            await store.append(CASE, [CODEC.encode(ADA)])
        with pytest.raises(NotSupported, match="vault="):
            await store.forget("112")
        assert await whole_log(store) == []

    async def test_another_vault(self, open_store: OpenStore, vault: str, tmp_path: Path) -> None:
        """Another vault is no reason to believe that somebody was forgotten."""
        async with open_store(vault=vault) as store, open_store(vault=f"sqlite:///{tmp_path}/other.db") as wrong:
            needs(store, "shared")
            await store.append(CASE, [CODEC.encode(ADA)])
            with pytest.raises(MissingKey):
                await whole_log(wrong)

    async def test_snapshot_about_people(self, open_store: OpenStore, vault: str) -> None:
        """A snapshot about people is sealed, and is not found any more once one of them is forgotten."""
        async with open_store(vault=vault) as store:
            needs(store, "snapshots")
            await store.append_all([Append(CASE, [CODEC.encode(ADA)]), Append("loan-2", [CODEC.encode(BEA)])])
            state = {"names": ["Ada Lovelace", "Beatrice Shilling"]}
            await store.snapshots.save("names", 2, state, subjects=["112", "113"])
            snapshot = await store.snapshots.load("names")
            assert snapshot is not None
            assert (snapshot.state, sorted(snapshot.subjects)) == (state, ["112", "113"])
            (raw,) = [each async for each in store.snapshots.all()]
            assert b"Ada" not in raw.raw_state
            await store.forget("113")
            assert await store.snapshots.load("names") is None
            with pytest.raises(InvalidEvent, match="forgotten meanwhile"):
                await store.snapshots.save("names", 2, state, subjects=["112", "113"])

    async def test_scheduled_sealed(self, store_url: str, vault: str) -> None:
        """What is scheduled waits sealed, and can be scheduled again."""
        async with headwater.connect(store_url, vault=vault) as store:
            needs(store, "records")
            new = CODEC.encode(ADA)
            first = await store.scheduled.add(CASE, [new], due=timedelta(microseconds=1))
            assert (await store.scheduled.add(CASE, [new], due=timedelta(0))).id == first.id
            assert b"Ada" not in first.events[0].data
            await store.scheduled.append_due()
            assert await bodies(store) == [ADA]

    async def test_consumers_read_sealed_events(self, store_url: str, vault: str) -> None:
        """Consumers get what can be read: sealed data opened, forgotten data as placeholders."""
        seen = Seen()
        async with headwater.connect(store_url, vault=vault) as store:
            needs(store, "records")
            await store.append(CASE, [CODEC.encode(ADA), CODEC.encode(BEA)])
            await store.forget("112")
            await caught_up(store, store.consumer("letters", seen))
            assert [CODEC.decode(each) for each in seen.events] == [FORGOTTEN, BEA]
