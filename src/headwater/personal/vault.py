"""The vault: one key for each person, in a store of its own. A key that is gone is gone for every copy.

``subjects/<subject>/`` is the record of one person: the present key, wrapped, and the ids of those that were destroyed.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Mapping

import msgspec

from headwater.backend import Backend, Forgotten, Record, RecordChange, Subject
from headwater.codecs import checked_name
from headwater.errors import MissingKey, StaleRecord, StoreUnavailable
from headwater.events import now_us, uuid7
from headwater.limits import Limits
from headwater.personal.cipher import new_secret
from headwater.personal.wrapping import KeyWrapper, NoWrapper

__all__ = ["KEEP_SECONDS", "Vault"]

KEEP_SECONDS = 30.0
"""A key that another process destroys is used here for so long at most."""

KEPT_MAX = 10_000
"""People whose keys are held in memory at a time."""

PREFIX = "subjects/"
PAGE = 1_000


class _Person(msgspec.Struct):
    """A person's record."""

    key: str = ""
    """The id of the present key; '' where there is none."""
    wrapped: bytes = b""
    wrapper: str = ""
    made_us: int = 0
    forgotten: dict[str, int] = {}
    """The ids of destroyed keys, and when that was."""


class _Known(msgspec.Struct):
    """What this process knows of a person, and until when it need not look again."""

    person: _Person
    revision: int
    until: float
    secret: bytes = b""
    """The present key; empty where nobody has asked for it yet."""


class Vault:
    """The keys of the people whom sealed data are about. Closed with the store that it was opened for."""

    def __init__(self, backend: Backend, limits: Limits, wrapper: KeyWrapper | None = None) -> None:
        self._backend = backend
        self._limits = limits
        self._wrapper = wrapper or NoWrapper()
        self._known: OrderedDict[str, _Known] = OrderedDict()

    @property
    def stepped(self) -> bool:
        """See ``Backend.stepped``."""
        return self._backend.stepped and getattr(self._wrapper, "stepped", False) is True

    async def present(self, subjects: Iterable[str]) -> dict[str, tuple[str, bytes]]:
        """For each person the id and the bytes of the present key, made where there is none."""
        keys = {}
        for subject in dict.fromkeys(subjects):
            known = await self._look(subject)
            while not known.person.key:
                known = await self._make(subject, known)
            keys[subject] = known.person.key, await self._secret(subject, known)
        return keys

    async def secrets(self, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], bytes | None]:
        """The bytes of keys by person and id; None for those that were destroyed.

        ``MissingKey`` for one that this vault has never had.
        """
        found: dict[tuple[str, str], bytes | None] = {}
        for subject, key in wanted:
            if (subject, key) in found:
                continue
            known = await self._look(subject)
            if not _has(known.person, key):
                known = await self._look(subject, afresh=True)
            if not _has(known.person, key):
                raise MissingKey(subject, key)
            found[subject, key] = await self._secret(subject, known) if known.person.key == key else None
        return found

    async def subject(self, subject: str) -> Subject | None:
        """What the vault knows of a person; None where it never had a key."""
        known = await self._look(subject, afresh=True)
        return _told(subject, known.person) if known.revision else None

    async def subjects(self) -> AsyncGenerator[list[Subject], None]:
        """Everybody whom there is or was a key of, in order of the subjects' ids, page by page."""
        after = ""
        while records := await self._backend.load_records(PREFIX, after, PAGE):
            yield [_told(record.name[len(PREFIX) : -1], _decoded(record)) for record in records]
            after = records[-1].name

    async def forget(self, subject: str) -> Forgotten | None:
        """Destroy a person's key. None where there never was one; the last destruction where there is none any more."""
        while True:
            known = await self._look(subject, afresh=True)
            person = known.person
            if person.key:
                gone = _Person(forgotten={**person.forgotten, person.key: now_us()})
                try:
                    await self._save(subject, gone, known.revision)
                except StaleRecord:
                    continue
                self._known.pop(subject, None)
                person = gone
            if not person.forgotten:
                return None
            remains = await self._backend.scrub()
            return Forgotten(subject, len(person.forgotten), max(person.forgotten.values()), remains)

    async def close(self) -> None:
        """Let go of the keys and of the vault's store."""
        self._known.clear()
        await self._backend.close()

    async def _look(self, subject: str, *, afresh: bool = False) -> _Known:
        known = self._known.get(subject)
        if known is not None and not afresh and time.monotonic() < known.until:
            self._known.move_to_end(subject)
            return known
        name = _name(subject)
        checked_name("subject", subject, "stream_name_bytes_max", self._limits.stream_name_bytes_max)
        until = time.monotonic() + KEEP_SECONDS
        records = await self._backend.load_records(name, "", 1)  # a longer name may start so, but comes later
        record = records[0] if records and records[0].name == name else None
        if record is None:
            self._known.pop(subject, None)
            return _Known(_Person(), 0, until)
        if known is not None and known.revision == record.revision:
            known.until = until
            return known
        return self._keep(subject, _Known(_decoded(record), record.revision, until))

    async def _secret(self, subject: str, known: _Known) -> bytes:
        person = known.person
        if known.secret:
            return known.secret
        if person.wrapper != self._wrapper.name:
            raise StoreUnavailable(
                f"the vault's keys are wrapped by {person.wrapper or 'nothing'!r}, "
                f"and it was opened with {self._wrapper.name or 'no wrapper'!r}",
                "Give connect(…, wrapper=…) the one that the vault was made with.",
                transient=False,
            )
        known.secret = await self._wrapper.unwrap(person.wrapped, subject)
        return known.secret

    async def _make(self, subject: str, known: _Known) -> _Known:
        """A new key; or the one that somebody else has just made."""
        secret = new_secret()
        person = _Person(
            key=uuid7().hex,
            wrapped=await self._wrapper.wrap(secret, subject),
            wrapper=self._wrapper.name,
            made_us=now_us(),
            forgotten=known.person.forgotten,
        )
        try:
            revision = await self._save(subject, person, known.revision)
        except StaleRecord:
            return await self._look(subject, afresh=True)
        return self._keep(subject, _Known(person, revision, time.monotonic() + KEEP_SECONDS, secret))

    async def _save(self, subject: str, person: _Person, revision: int) -> int:
        change = RecordChange(_name(subject), msgspec.json.encode(person), revision)
        return (await self._backend.save_records([change]))[0]

    def _keep(self, subject: str, known: _Known) -> _Known:
        self._known[subject] = known
        self._known.move_to_end(subject)
        while len(self._known) > KEPT_MAX:
            self._known.popitem(last=False)
        return known


def _name(subject: str) -> str:
    return f"{PREFIX}{subject}/"


def _has(person: _Person, key: str) -> bool:
    return key == person.key or key in person.forgotten


def _decoded(record: Record) -> _Person:
    return msgspec.json.decode(record.value, type=_Person)


def _told(subject: str, person: _Person) -> Subject:
    forgotten: Mapping[str, int] = person.forgotten
    return Subject(subject, person.key, person.made_us, dict(forgotten))
