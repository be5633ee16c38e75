"""From objects of declared classes to events, and back, whatever version and shape was stored."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from headwater.codecs import PERSONAL_KEY, PERSONAL_MARK, PersonalPart, parts_of, place_of
from headwater.errors import HeadwaterError, InvalidEvent
from headwater.events import Event, NewEvent, is_json
from headwater.typed.declaring import Converter, Declared, InvalidType, declared
from headwater.typed.personal import has_personal, personal_parts
from headwater.typed.reshaping import Merge, Merging, Part, Split
from headwater.typed.shapes import Shape, shape_of

__all__ = ["VERSION_KEY", "Codec", "Unknown", "UnreadableEvent", "stored_version"]

VERSION_KEY = "schema_version"
"""In an event's metadata: the version of its fields; 1 where it is not there."""

_UNFIT = (ValueError, TypeError, LookupError, AttributeError)
"""What readers and converters raise for what does not fit; msgspec's and pydantic's own errors are among them."""

_VERSION_MARK = f'"{VERSION_KEY}"'.encode()


class UnreadableEvent(HeadwaterError):
    """A stored event can't be read as the class that is declared for its type.

    Attributes: ``type``, ``version`` (of its fields), ``position``, ``reason``.
    """

    def __init__(self, event: Event, version: int, reason: str) -> None:
        self.type = event.type
        self.version = version
        self.position = event.position
        self.reason = reason
        super().__init__(
            f"the event {event.type!r} (version {version}) at position {event.position} can't be read: {reason}. "
            "Correct the class, or give its upcasters; headwater types check finds all such events."
        )


class Unknown(msgspec.Struct, frozen=True):
    """An event whose type has no class here, or whose version is newer than the class and can't be read as it."""

    type: str
    version: int
    data: Any
    """As ``Event.data`` has it."""


def stored_version(event: Event) -> int:
    """The version of the fields of a stored event."""
    if not event.raw_metadata or _VERSION_MARK not in event.raw_metadata:
        return 1
    version = event.metadata.get(VERSION_KEY, 1)
    return version if isinstance(version, int) and version >= 1 else 1


class _Known(msgspec.Struct, frozen=True):
    """A declared class, ready to be used; what decoding needs comes first and without a detour."""

    version: int
    from_json: Callable[[bytes], Any]
    declared: Declared
    shape: Shape
    write: int
    """The version that is written."""
    personal: bool
    """It has fields that are about people."""


class Codec:
    """Knows the classes of an application's events.

    Arguments:
        types: classes declared with ``@event``.
        reshape: ``Split`` and ``Merge``: stored events that are read as several, or several that are read as one.
        write: for a rolling deployment, an older version to write of some types: ``{"LoanRequested": 1}``; until
            every program that runs can read the newer one. Needs their ``downcast``.
        strict: refuse unknown types, newer versions and unknown fields. Otherwise unknown fields are passed over,
            and unknown types are read as ``Unknown``.

    Raises ``InvalidType`` where two classes have one name, or a converter is missing.
    """

    def __init__(
        self,
        types: Iterable[type],
        *,
        reshape: Iterable[Split | Merge] = (),
        write: Mapping[str, int] | None = None,
        strict: bool = False,
    ) -> None:
        self.strict = strict
        self._by_name: dict[str, _Known] = {}
        self._by_kind: dict[type, _Known] = {}
        older = dict(write or {})
        for kind in types:
            self._add(kind, older.pop(declared(kind).name, None))
        if older:
            raise InvalidType(f"event {next(iter(older))!r}", "stands in write=, but not in types", "Add its class.")
        given = list(reshape)
        self._splits = {(each.type, each.version): each for each in given if isinstance(each, Split)}
        self._merges = [each for each in given if isinstance(each, Merge)]

    def _add(self, kind: type, write: int | None) -> None:
        facts = declared(kind)
        if (present := self._by_name.get(facts.name)) is not None:
            raise InvalidType(
                f"event {facts.name!r}",
                f"is declared by {present.declared.kind.__qualname__} and by {kind.__qualname__}",
                "Give one of them another name.",
            )
        wanted = facts.version if write is None else write
        missing = [each for each in range(facts.version, wanted, -1) if each not in facts.downcast]
        if not 1 <= wanted <= facts.version or missing:
            raise InvalidType(
                f"event {facts.name!r}",
                f"is to be written as version {wanted}, but has "
                + (f"no downcast from version {missing[0]}" if missing else f"version {facts.version}"),
                "Give downcast={…} in @event, down to the version to write.",
            )
        shape = shape_of(kind, strict=self.strict)
        known = _Known(facts.version, shape.from_json, facts, shape, wanted, has_personal(kind))
        self._by_name[facts.name] = self._by_kind[kind] = known

    @property
    def types(self) -> dict[str, type]:
        """The classes by the names of their types, in order of name."""
        return {name: self._by_name[name].declared.kind for name in sorted(self._by_name)}

    @property
    def versions(self) -> dict[str, int]:
        """The version of each type that is written, in order of name."""
        return {name: self._by_name[name].write for name in sorted(self._by_name)}

    def encode(
        self,
        body: object,
        *,
        id: uuid.UUID | str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        occurred_at: datetime | None = None,
    ) -> NewEvent:
        """A new event that holds this object. ``tags`` come after those that its class declares.

        Raises ``InvalidEvent`` where its class is not one of the codec's.
        """
        known = self._by_kind.get(type(body))
        if known is None:
            raise InvalidEvent(
                f"{type(body).__qualname__} is not one of this codec's types",
                'Declare the class with @event("ItsName"), and give it to Codec([…]).',
            )
        facts = known.declared
        data: Any = body
        if known.write != facts.version:
            data = _converted(known.shape.fields_of(body), facts.downcast, facts.version, known.write)
        elif known.personal or not isinstance(body, msgspec.Struct):
            data = known.shape.fields_of(body)
        if known.write > 1:
            metadata = {**(metadata or {}), VERSION_KEY: known.write}
        own = facts.tags(body) if facts.tags is not None else ()
        every = [*own, *tags]
        if known.personal:
            marks = _marks(body, data, every, converted=known.write != facts.version)
            metadata = {**(metadata or {}), PERSONAL_KEY: msgspec.to_builtins(marks)} if marks else metadata
        return NewEvent(facts.name, data, id=id, metadata=metadata, tags=every, occurred_at=occurred_at)

    def decode(self, event: Event) -> Any:
        """The event as an object of its class, brought up to the present version.

        ``Unknown`` for a type without a class, unless the codec is strict. Raises ``UnreadableEvent`` where the class
        can't hold what is stored. An event that is split or merged on read: see ``read``.
        """
        known = self._by_name.get(event.type)
        if known is None:
            if self.strict:
                raise UnreadableEvent(event, stored_version(event), "no class is declared for this type")
            return Unknown(event.type, stored_version(event), event.data)
        version = self._readable_version(event) if event.raw_metadata else 1
        try:
            if version == known.version:
                return known.from_json(event.raw_data)
            return self._decode_other(known, event, version)
        except _UNFIT as error:
            raise UnreadableEvent(event, version, _said(error)) from error

    def _readable_version(self, event: Event) -> int:
        version = stored_version(event)
        if PERSONAL_MARK in event.raw_metadata and any(part.key for part in parts_of(event.raw_metadata).values()):
            raise UnreadableEvent(
                event, version, "its personal data are sealed: open the store with the vault of its keys"
            )
        return version

    def _decode_other(self, known: _Known, event: Event, version: int) -> Any:
        facts = known.declared
        if version < facts.version:
            return known.shape.from_fields(_converted(_fields(event), facts.upcast, version, facts.version))
        if self.strict:
            raise ValueError(f"it was written by a newer program; this one knows version {facts.version}")
        try:
            return known.shape.from_json(event.raw_data)
        except ValueError:
            return Unknown(event.type, version, event.data)

    def decode_fields(self, type: str, version: int, fields: dict[str, Any]) -> Any:
        """Fields of some version of a type as an object of its class, as ``decode`` has it."""
        known = self._by_name.get(type)
        if known is None:
            return Unknown(type, version, fields)
        facts = known.declared
        return known.shape.from_fields(_converted(fields, facts.upcast, version, facts.version))

    def personal_values(self, body: object) -> list[tuple[PersonalPart, Any]]:
        """What in this object is about whom, with the value that it has."""
        known = self._by_kind.get(type(body))
        if known is None or not known.personal:
            return []
        fields = known.shape.fields_of(body)
        places = [(part, place_of(fields, pointer)) for pointer, part in personal_parts(body).items()]
        return [(part, place[0][place[1]]) for part, place in places if place is not None]

    def bodies(self, event: Event) -> list[Any]:
        """The objects that a single event is read as: one, or those that it is split into."""
        return [body for _, body in self._bodies([event], None)]

    async def read(self, events: AsyncIterable[Event]) -> AsyncIterator[tuple[Event, Any]]:
        """Each event with its object: ``async for event, body in codec.read(store.read("loan-173688")): …``.

        An event that is split comes once for each of its parts; events that are merged come as one, with the last of
        them.
        """
        merging = Merging(self._merges)
        async for event in events:
            for run in merging.take(event):
                for each in self._bodies(*run):
                    yield each
        for run in merging.end():
            for each in self._bodies(*run):
                yield each

    def _bodies(self, run: list[Event], merge: Merge | None) -> Sequence[tuple[Event, Any]]:
        event = run[-1]
        version = stored_version(event)
        split = self._splits.get((event.type, version)) if self._splits else None
        if merge is None and split is None:
            return [(event, self.decode(event))]
        try:
            if merge is not None:
                parts: Sequence[Part] = [merge.into([_fields(each) for each in run])]
            else:
                assert split is not None
                parts = split.into(_fields(event))
            return [(event, self.decode_fields(*part)) for part in parts]
        except _UNFIT as error:
            raise UnreadableEvent(event, version, _said(error)) from error

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of every type's present version, by name."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$defs": {name: self._schema_of(self._by_name[name]) for name in sorted(self._by_name)},
        }

    def _schema_of(self, known: _Known) -> dict[str, Any]:
        facts = known.declared
        id = f"urn:headwater:event:{quote(facts.name, safe='')}:{facts.version}"  # what its own $refs are relative to
        return {"$id": id, **known.shape.json_schema(), "title": facts.name}


def _fields(event: Event) -> dict[str, Any]:
    if not is_json(event.content_type):
        raise ValueError(f"its data is {event.content_type}, not JSON")
    fields = event.data
    if not isinstance(fields, dict):
        raise ValueError("its data is no JSON object")
    return fields


def _marks(body: object, data: Any, tags: Iterable[str], *, converted: bool) -> dict[str, PersonalPart]:
    """The marks of what is personal in ``data``, as the body is to be stored.

    ``InvalidEvent`` where a tag would tell it, or where a converter to an older version has moved it.
    """
    marks = {}
    known = {text for tag in tags for text in (tag, tag.partition(":")[2]) if text}
    for pointer, part in personal_parts(body).items():
        place = place_of(data, pointer)
        if place is None and not converted:
            continue  # its default, which is left out
        if place is None:
            raise InvalidEvent(
                f"the personal field {pointer!r} of {type(body).__qualname__} is not stored under that name",
                "A downcast has to leave personal fields where they are, or write the present version.",
            )
        value = place[0][place[1]]
        if isinstance(value, str) and value in known:
            raise InvalidEvent(
                f"a tag of {type(body).__qualname__} holds its personal field {pointer!r}, and tags are not sealed",
                "Make tags of the person's id instead.",
            )
        marks[pointer] = part
    return marks


def _converted(fields: dict[str, Any], by: Mapping[int, Converter], start: int, end: int) -> dict[str, Any]:
    step = 1 if end >= start else -1
    for version in range(start, end, step):
        fields = by[version](dict(fields))
    return fields


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"
