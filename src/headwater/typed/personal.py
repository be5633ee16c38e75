"""Fields that are about a person: ``name: Annotated[str, Personal(subject="applicant")]``."""

from __future__ import annotations

import types
from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from headwater.codecs import PLACEHOLDER, PersonalPart
from headwater.errors import InvalidEvent
from headwater.typed.declaring import InvalidType

__all__ = ["Personal", "has_personal", "personal_parts"]


UNIONS = (Union, types.UnionType)


class Personal(msgspec.Struct, frozen=True):
    """Says that a field is about a person, so that it is stored sealed under a key of that person's own.

    ``name: Annotated[str, headwater.Personal(subject="applicant")]``. The store must be opened with a ``vault``.
    """

    subject: str
    """The field that holds the person's id, in the same object or one around it. Give people ids that mean nothing by
    themselves: they are not sealed."""
    placeholder: Any = msgspec.UNSET
    """What readers get once the person's key is destroyed. ``"(forgotten)"`` where left out, None where the field may
    be None."""


class _Field(msgspec.Struct, frozen=True):
    name: str
    """Of the attribute."""
    stored: str
    """In the stored object."""
    personal: Personal | None
    placeholder: Any = None


def has_personal(kind: type) -> bool:
    """Whether objects of this class hold personal data, at any depth. ``InvalidType`` where they can't be sealed."""
    return _holds(kind, frozenset())


def _holds(hint: Any, above: frozenset[Any]) -> bool:
    if get_origin(hint) is not None:
        inside = max([_holds(each, above) for each in get_args(hint)], default=False)  # each may be refused
        if inside and get_origin(hint) in (set, frozenset):
            raise InvalidType(
                str(hint), "holds personal data in a set, whose members have no places to seal", "Make it a list."
            )
        return inside
    if not isinstance(hint, type) or hint in above:
        return False
    fields = {field.name: field for field in _fields(hint)}
    personal = False
    for name, inner in _hints(hint).items():
        if name in fields and fields[name].personal is not None:
            personal = True
        elif _marked(inner):
            raise InvalidType(
                f"{hint.__module__}.{hint.__qualname__}",
                f"marks a part of {name!r} as personal, where it can't be found again",
                "Put Annotated[…, Personal(…)] around the whole field of a Struct, a dataclass or a pydantic model.",
            )
        else:
            personal |= _holds(inner, above | {hint})
    return personal


def _marked(hint: Any) -> bool:
    """Whether a mark stands anywhere in this hint."""
    return isinstance(hint, Personal) or any(_marked(each) for each in get_args(hint))


def personal_parts(body: object) -> dict[str, PersonalPart]:
    """What in this object is about whom, by JSON pointer into the object as it is stored.

    ``InvalidEvent`` where it does not say whom it is about.
    """
    return dict(_parts(body, "", ()))


def _parts(value: Any, pointer: str, around: tuple[Any, ...]) -> Iterator[tuple[str, PersonalPart]]:
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _parts(each, f"{pointer}/{_token(str(name))}", around)
    elif isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        for number, each in enumerate(value):
            yield from _parts(each, f"{pointer}/{number}", around)
    else:
        kind: Any = type(value)
        for field in _fields(kind):
            inner = getattr(value, field.name)
            place = f"{pointer}/{_token(field.stored)}"
            if field.personal is None:
                yield from _parts(inner, place, (value, *around))
            elif inner is not None and inner is not msgspec.UNSET:
                subject = _subject(field, (value, *around))
                yield place, PersonalPart(subject, placeholder=field.placeholder)


def _subject(field: _Field, around: Iterable[Any]) -> str:
    assert field.personal is not None
    name = field.personal.subject
    for each in around:
        subject = getattr(each, name, None)
        if isinstance(subject, (str, int)) and not isinstance(subject, bool) and subject != "":
            return str(subject)
    raise InvalidEvent(
        f"the field {field.name!r} is about a person, but {name!r} does not say who",
        f"Give {name!r} the person's id, a text or a number.",
    )


def _token(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


@cache
def _fields(kind: Hashable) -> tuple[_Field, ...]:
    """The fields of a class that can be stored as an object; none of any other class."""
    stored = _stored_names(kind)
    if not stored:
        return ()
    hints = _hints(kind)
    fields = []
    for name, text in stored.items():
        personal = _mark_of(hints.get(name))
        placeholder = None if personal is None else _placeholder(kind, name, hints[name], personal)
        fields.append(_Field(name, text, personal, placeholder))
    return tuple(fields)


def _stored_names(kind: object) -> dict[str, str]:
    """Attribute → name in the stored object."""
    if not isinstance(kind, type):
        return {}
    if issubclass(kind, msgspec.Struct):
        return dict(zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True))
    known = getattr(kind, "__dataclass_fields__", None) or getattr(kind, "model_fields", None)
    return {name: name for name in known} if isinstance(known, dict) else {}


@cache
def _hints(kind: Hashable) -> dict[str, Any]:
    try:
        return get_type_hints(kind, include_extras=True)
    except (NameError, TypeError):  # what can't be looked up can't be read either, and says so when it is
        return dict(getattr(kind, "__annotations__", {}))


def _mark_of(hint: Any) -> Personal | None:
    """The mark of a whole field: around its type, or around one of several."""
    if get_origin(hint) is Annotated:
        return next((each for each in get_args(hint)[1:] if isinstance(each, Personal)), None)
    if get_origin(hint) in UNIONS:
        return next((mark for each in get_args(hint) if (mark := _mark_of(each)) is not None), None)
    return None


def _placeholder(kind: Any, name: str, hint: Any, personal: Personal) -> Any:
    subject = f"{kind.__module__}.{kind.__qualname__}"
    if issubclass(kind, msgspec.Struct) and kind.__struct_config__.array_like:
        raise InvalidType(subject, "is stored as a list, so its fields have no names to seal", "Leave array_like out.")
    if personal.subject == name:
        raise InvalidType(subject, f"has {name!r} as the subject of itself", "Name the field with the person's id.")
    wanted = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    placeholder = personal.placeholder
    if placeholder is msgspec.UNSET:
        optional = get_origin(wanted) in UNIONS and type(None) in get_args(wanted)
        placeholder = None if optional else PLACEHOLDER
    try:
        msgspec.convert(placeholder, wanted)
    except msgspec.ValidationError as error:
        raise InvalidType(
            subject,
            f"has the personal field {name!r}, which can't hold its placeholder {placeholder!r}: {error}",
            "Say what readers shall get once the person is forgotten: Personal(subject=…, placeholder=…).",
        ) from None
    except TypeError:  # a type of another library's, which will check for itself
        pass
    return msgspec.to_builtins(placeholder)
