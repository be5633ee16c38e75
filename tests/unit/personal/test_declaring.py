"""Which fields are personal, and whose: what can be declared, and what is refused because it would not be sealed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import msgspec
import pydantic
import pytest

import headwater as hw
from headwater.typed.personal import has_personal, personal_parts

Name = Annotated[str, hw.Personal(subject="applicant")]


class Address(msgspec.Struct):
    street: Annotated[str, hw.Personal(subject="applicant")]
    city: str = "Delft"


@hw.event("AsStruct")
class AsStruct(msgspec.Struct, rename="camel", omit_defaults=True):
    applicant: int
    full_name: Name
    mail: Annotated[str, hw.Personal("applicant")] | None = None
    homes: list[Address] = []
    by_kind: dict[str, Address] = {}


@hw.event("AsDataclass")
@dataclass
class AsDataclass:
    applicant: str
    name: Name
    homes: list[Address] = field(default_factory=list)


class AddressModel(pydantic.BaseModel):
    street: Annotated[str, hw.Personal(subject="applicant")]


@hw.event("AsModel")
class AsModel(pydantic.BaseModel):
    applicant: str
    name: Name
    home: AddressModel | None = None


CODEC = hw.Codec([AsStruct, AsDataclass, AsModel])
WHOLE = AsStruct(112, "Ada", "ada@example.org", [Address("A"), Address("B")], {"a/b~c": Address("C")})


def marks(body: object) -> dict[str, Any]:
    return (CODEC.encode(body).metadata or {}).get("personal_data", {})


def test_every_kind_of_class_marks_its_fields_at_any_depth() -> None:
    assert list(marks(WHOLE)) == ["/fullName", "/mail", "/homes/0/street", "/homes/1/street", "/byKind/a~1b~0c/street"]
    assert {part["subject"] for part in marks(WHOLE).values()} == {"112"}
    assert list(marks(AsDataclass("112", "Ada", [Address("A")]))) == ["/name", "/homes/0/street"]
    assert list(marks(AsModel(applicant="112", name="Ada", home=AddressModel(street="A")))) == ["/name", "/home/street"]


def test_what_is_not_there_is_not_marked() -> None:
    assert list(marks(AsStruct(112, "Ada"))) == ["/fullName"]
    assert list(marks(AsModel(applicant="112", name="Ada"))) == ["/name"]


def test_values_stay_as_they_are() -> None:
    encoded = CODEC.encode(WHOLE)
    assert encoded.data["byKind"] == {"a/b~c": {"street": "C", "city": "Delft"}}


def test_the_placeholder_fits_the_field() -> None:
    parts = personal_parts(WHOLE)
    assert (parts["/fullName"].placeholder, parts["/mail"].placeholder) == ("(forgotten)", None)


@pytest.mark.parametrize("subject", ["", None, True])
def test_a_person_without_an_id_is_refused(subject: Any) -> None:
    with pytest.raises(hw.InvalidEvent, match="'applicant' does not say who"):
        CODEC.encode(AsDataclass(subject, "Ada"))


def test_a_tag_that_would_tell_is_refused() -> None:
    with pytest.raises(hw.InvalidEvent, match="tags are not sealed"):
        CODEC.encode(AsDataclass("112", "Ada"), tags=["name:Ada"])
    with pytest.raises(hw.InvalidEvent, match="tags are not sealed"):
        CODEC.encode(AsDataclass("112", "Ada"), tags=["Ada"])
    CODEC.encode(AsDataclass("112", "Ada"), tags=["applicant:112"])


class Count(msgspec.Struct):
    applicant: str
    children: Annotated[int, hw.Personal("applicant")]


class Listed(msgspec.Struct, array_like=True):
    applicant: str
    name: Name


class OfItself(msgspec.Struct):
    name: Annotated[str, hw.Personal("name")]


class Buried(msgspec.Struct):
    applicant: str
    names: list[Annotated[str, hw.Personal("applicant")]]


class InSet(msgspec.Struct):
    applicant: str
    homes: set[Address]


class Tuple(NamedTuple):
    name: Annotated[str, hw.Personal("applicant")]


class InTuple(msgspec.Struct):
    applicant: str
    home: Tuple


class WrongPlaceholder(msgspec.Struct):
    applicant: str
    born: Annotated[int, hw.Personal("applicant", placeholder="unknown")]


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        (Count, "can't hold its placeholder '\\(forgotten\\)'"),
        (WrongPlaceholder, "can't hold its placeholder 'unknown'"),
        (Listed, "array_like"),
        (OfItself, "subject of itself"),
        (Buried, "around the whole field"),
        (InSet, "Make it a list"),
        (InTuple, "around the whole field"),
    ],
)
def test_what_would_not_be_sealed_is_refused(kind: type, match: str) -> None:
    with pytest.raises(hw.InvalidType, match=match):
        hw.Codec([hw.event("Wrong")(kind)])


def test_classes_without_people_are_left_alone() -> None:
    class Recursive(msgspec.Struct):
        inner: list[Recursive] = []

    assert not has_personal(Recursive)
    assert has_personal(AsStruct)


def test_an_older_version_is_written_only_where_personal_fields_stay_in_place() -> None:
    def same(fields: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if name != "amount"}

    def moved(fields: dict[str, Any]) -> dict[str, Any]:
        fields["who"] = fields.pop("name")
        return fields

    for downcast, fits in ((same, True), (moved, False)):

        @hw.event("Grown", version=2, upcast={1: hw.Change()}, downcast={2: downcast})
        class Grown(msgspec.Struct):
            applicant: str
            name: Name
            amount: int = 0

        codec = hw.Codec([Grown], write={"Grown": 1})
        if fits:
            assert list(codec.encode(Grown("112", "Ada")).metadata or {}) == ["personal_data"]
        else:
            with pytest.raises(hw.InvalidEvent, match="downcast has to leave personal fields"):
                codec.encode(Grown("112", "Ada"))
