"""The kinds of classes that can be events, each read and written by the library that it comes from.

``msgspec.Struct`` and dataclasses are msgspec's own; a pydantic model is recognised by its methods, so that pydantic
need not be installed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from headwater.typed.declaring import InvalidType

__all__ = ["Shape", "shape_of"]


class Shape(msgspec.Struct, frozen=True):
    """How instances of a class are read and written. Readers raise ``ValueError`` for what does not fit."""

    from_json: Callable[[bytes], Any]
    from_fields: Callable[[dict[str, Any]], Any]
    fields_of: Callable[[Any], dict[str, Any]]
    json_schema: Callable[[], dict[str, Any]]


def shape_of(kind: type, *, strict: bool) -> Shape:
    """The shape of a class. ``strict``: fields that the class does not have are refused, not passed over."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        own = {*kind.__struct_encode_fields__, kind.__struct_config__.tag_field}
        return _of_msgspec(kind, own if strict else None)
    if dataclasses.is_dataclass(kind):
        return _of_msgspec(kind, {field.name for field in dataclasses.fields(kind)} if strict else None)
    if hasattr(kind, "model_validate_json") and hasattr(kind, "model_dump"):
        return _of_pydantic(kind, strict=strict)
    raise InvalidType(
        f"{kind.__module__}.{kind.__qualname__}",
        "is no class whose fields can be stored",
        "Make it a msgspec.Struct, a dataclass or a pydantic model.",
    )


def _of_msgspec(kind: type, names: Collection[str | None] | None) -> Shape:
    """``names``: the fields that there may be; None for any."""
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)

    def from_fields(fields: dict[str, Any]) -> Any:
        if names is not None and (unknown := sorted(set(fields) - set(names))):
            raise ValueError(f"it has the unknown field `{unknown[0]}`")
        return msgspec.convert(fields, kind)

    def strictly_from_json(raw: bytes) -> Any:
        return from_fields(msgspec.json.decode(raw, type=dict[str, Any]))

    def fields_of(value: Any) -> dict[str, Any]:
        fields = msgspec.to_builtins(value)
        assert isinstance(fields, dict)
        return fields

    from_json = decoder.decode if names is None else strictly_from_json
    return Shape(from_json, from_fields, fields_of, lambda: msgspec.json.schema(kind))


def _of_pydantic(kind: Any, *, strict: bool) -> Shape:
    options: dict[str, Any] = {"extra": "forbid"} if strict else {}
    return Shape(
        lambda raw: kind.model_validate_json(raw, **options),
        lambda fields: kind.model_validate(fields, **options),
        lambda value: value.model_dump(mode="json"),
        kind.model_json_schema,
    )
