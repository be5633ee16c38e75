"""A backend whose appends seal what is marked as personal, and whose reads open it, or say that it is forgotten."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, cast

import msgspec

from headwater.backend import Appender, Backend, Forgotten, Page, Subject, Write
from headwater.codecs import PERSONAL_KEY, PERSONAL_MARK, PersonalPart, SealedState, checked_parts, parts_of, place_of
from headwater.errors import CorruptStore, InvalidEvent, TooLarge
from headwater.events import Event, EventRecord, is_json
from headwater.limits import Limits
from headwater.personal import cipher
from headwater.personal.vault import Vault
from headwater.queries import Query

__all__ = ["SealedBackend"]

FORMAT = "headwater personal data 1"

Keys = dict[tuple[str, str], bytes | None]
"""Keys by person and id; None for those that were destroyed."""


class VaultSealer:
    """See ``headwater.backend.Sealer``."""

    def __init__(self, vault: Vault, limits: Limits, store: str) -> None:
        self._vault = vault
        self._limits = limits
        self._store = store

    async def seal(self, writes: Sequence[Write]) -> list[Write]:
        sealed = []
        for write in writes:
            records = [await self._sealed(record) for record in write.records]
            sealed.append(msgspec.structs.replace(write, records=tuple(records)))
        return sealed

    async def _sealed(self, record: EventRecord) -> EventRecord:
        if PERSONAL_MARK not in record.metadata:
            return record
        parts = checked_parts(record.metadata, record.type)
        clear = {pointer: part for pointer, part in parts.items() if not part.key and not part.forgotten}
        if not clear:
            return record
        keys = await self._vault.present(part.subject for part in clear.values())
        data = _document(record)
        for pointer, part in clear.items():
            key, secret = keys[part.subject]
            place = place_of(data, pointer)
            if place is None:
                raise InvalidEvent(
                    f"event {record.type!r} marks {pointer!r} as personal data, but has no value there",
                    "Mark what is there, by JSON pointers such as /name or /people/0/name.",
                )
            holder, name = place
            value = msgspec.json.encode(holder[name])
            bytes_ = cipher.seal(secret, value, _place_name(record.id, pointer, part.subject))
            holder[name] = base64.b64encode(bytes_).decode()
            parts[pointer] = msgspec.structs.replace(part, key=key)
        sealed = msgspec.structs.replace(
            record, data=msgspec.json.encode(data), metadata=_marked(record.metadata, parts)
        )
        return self._within_limits(sealed)

    def _within_limits(self, record: EventRecord) -> EventRecord:
        for what, size, limit in (
            ("data", len(record.data), "event_bytes_max"),
            ("metadata", len(record.metadata), "metadata_bytes_max"),
        ):
            if size > getattr(self._limits, limit):
                name = f"the {what} of event {record.type!r}, sealed (in bytes)"
                raise TooLarge(name, size, limit, getattr(self._limits, limit))
        return record

    async def opened(self, events: Sequence[Event]) -> list[Event]:
        """The events with what is sealed in them opened, or replaced where the key is gone."""
        marked = [number for number, event in enumerate(events) if PERSONAL_MARK in event.raw_metadata]
        result = list(events)
        if not marked:
            return result
        parts = {number: parts_of(events[number].raw_metadata) for number in marked}
        keys = await self._vault.secrets(_wanted(parts.values()))
        for number in marked:
            result[number] = self._opened(events[number], parts[number], keys)
        return result

    def _opened(self, event: Event, parts: dict[str, PersonalPart], keys: Keys) -> Event:
        if not any(part.key for part in parts.values()):
            return event
        data = event.data
        for pointer, part in parts.items():
            if not part.key:
                continue
            place = place_of(data, pointer)
            if place is None:
                raise self._corrupt(event, pointer, "there is no value there")
            holder, name = place
            secret = keys[part.subject, part.key]
            if secret is None:
                holder[name] = part.placeholder
            else:
                holder[name] = self._value(event, pointer, part, secret, holder[name])
            parts[pointer] = msgspec.structs.replace(part, key="", forgotten=secret is None)
        return msgspec.structs.replace(
            event, raw_data=msgspec.json.encode(data), raw_metadata=_marked(event.raw_metadata, parts)
        )

    def _value(self, event: Event, pointer: str, part: PersonalPart, secret: bytes, sealed: Any) -> Any:
        try:
            bytes_ = base64.b64decode(sealed, validate=True)
            plain = cipher.unseal(secret, bytes_, _place_name(event.raw_id, pointer, part.subject))
        except (binascii.Error, TypeError, ValueError):
            raise self._corrupt(event, pointer, "it was changed, or moved here from another event") from None
        return msgspec.json.decode(plain)

    def _corrupt(self, event: Event, pointer: str, finding: str) -> CorruptStore:
        return CorruptStore(
            self._store,
            f"the sealed value {pointer!r} of the event at position {event.position} can't be opened: {finding}",
            "Restore the event from a backup or an export.",
        )

    async def seal_state(self, name: str, raw: bytes, subjects: Sequence[str]) -> bytes:
        for subject in subjects:
            known = await self._vault.subject(subject)
            if known is not None and not known.key:
                raise InvalidEvent(
                    f"the snapshot {name!r} is about {subject!r}, who was forgotten meanwhile",
                    "Fold the state again, from events as they can be read now.",
                )
        keys = await self._vault.present(subjects)
        ids = {subject: key for subject, (key, _) in keys.items()}
        secret = cipher.joined({subject: secret for subject, (_, secret) in keys.items()})
        return msgspec.json.encode(SealedState(ids, cipher.seal(secret, raw, _state_name(name, ids))))

    async def open_state(self, name: str, sealed: bytes) -> tuple[bytes, tuple[str, ...]] | None:
        state = msgspec.json.decode(sealed, type=SealedState)
        found = await self._vault.secrets(state.keys.items())
        secrets = {subject: secret for (subject, _), secret in found.items() if secret is not None}
        if len(secrets) < len(state.keys):
            return None
        raw = cipher.unseal(cipher.joined(secrets), state.sealed, _state_name(name, state.keys))
        return raw, tuple(state.keys)

    async def forget(self, subject: str) -> Forgotten | None:
        return await self._vault.forget(subject)

    async def subject(self, subject: str) -> Subject | None:
        return await self._vault.subject(subject)

    def subjects(self) -> AsyncGenerator[list[Subject], None]:
        return self._vault.subjects()

    async def close(self) -> None:
        """Close the vault."""
        await self._vault.close()


class _Delegate:
    """Does whatever is not done here as what it stands before."""

    def __init__(self, behind: Any, sealer: VaultSealer) -> None:
        self._behind = behind
        self.sealer = sealer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)


class SealedAppender(_Delegate):
    """An appender in a caller's transaction; where it can read too, what it reads is opened."""

    async def events(self, ids: Sequence[bytes]) -> list[Event]:
        return await self.sealer.opened(await self._behind.events(ids))


class SealedBackend(_Delegate):
    """See ``headwater.backend.Backend``."""

    def __init__(self, backend: Backend, vault: Vault, limits: Limits) -> None:
        super().__init__(backend, VaultSealer(vault, limits, f"the {backend.capabilities.backend} store"))
        self.stepped = backend.stepped and vault.stepped

    def bind(self, connection: Any) -> Appender:
        return cast(Appender, SealedAppender(self._behind.bind(connection), self.sealer))

    async def read_stream(self, stream: str, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        return await self._opened(await self._behind.read_stream(stream, after, before, limit, backwards))

    async def read_all(self, query: Query | None, after: int, before: int | None, limit: int, backwards: bool) -> Page:
        return await self._opened(await self._behind.read_all(query, after, before, limit, backwards))

    async def _opened(self, page: Page) -> Page:
        events = await self.sealer.opened(page.events)
        return Page(events, page.last, page.more)

    async def event(self, id: bytes) -> Event | None:
        found = await self._behind.event(id)
        return None if found is None else (await self.sealer.opened([found]))[0]

    async def close(self) -> None:
        try:
            await self._behind.close()
        finally:
            await self.sealer.close()


def _document(record: EventRecord) -> Any:
    if not is_json(record.content_type):
        raise InvalidEvent(
            f"event {record.type!r} marks personal data in {record.content_type}, which has no places to point to",
            "Keep such data in JSON, or seal the bytes yourself.",
        )
    return msgspec.json.decode(record.data)


def _marked(metadata: bytes, parts: dict[str, PersonalPart]) -> bytes:
    """The metadata with the marks as they are now."""
    return msgspec.json.encode(msgspec.json.decode(metadata, type=dict[str, Any]) | {PERSONAL_KEY: parts})


def _wanted(parts: Iterable[dict[str, PersonalPart]]) -> list[tuple[str, str]]:
    return [(part.subject, part.key) for each in parts for part in each.values() if part.key]


def _place_name(event_id: bytes, pointer: str, subject: str) -> bytes:
    return msgspec.json.encode([FORMAT, event_id.hex(), pointer, subject])


def _state_name(name: str, keys: dict[str, str]) -> bytes:
    return msgspec.json.encode([FORMAT, "state", name, sorted(keys.items())])
