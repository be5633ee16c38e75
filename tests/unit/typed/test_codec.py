"""Classes to events and back, in every kind of class, version and shape."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import msgspec
import pydantic
import pytest

import headwater as hw
from headwater.typed import Change, Codec, InvalidType, Merge, Split, Unknown, UnreadableEvent, event

AT = datetime(2011, 10, 1, tzinfo=UTC)


@event("LoanRequested", tags=lambda e: [f"applicant:{e.applicant}"])
class Requested(msgspec.Struct, frozen=True):
    applicant: str
    amount: int
    at: datetime = AT


@event("LoanRequested", tags=lambda e: [f"applicant:{e.applicant}"])
@dataclasses.dataclass(frozen=True)
class RequestedData:
    applicant: str
    amount: int
    at: datetime = AT


@event("LoanRequested", tags=lambda e: [f"applicant:{e.applicant}"])
class RequestedModel(pydantic.BaseModel):
    applicant: str
    amount: int
    at: datetime = AT


def to_third(fields: dict[str, Any]) -> dict[str, Any]:
    cents = fields.pop("amount") * 100
    return {**fields, "cents": cents}


@event(
    "LoanRequested",
    version=3,
    upcast={1: Change(rename={"applicant": "customer"}, default={"currency": "EUR"}), 2: to_third},
    downcast={3: lambda fields: {**Change(drop=["cents"])(fields), "amount": fields["cents"] // 100}},
)
class RequestedThird(msgspec.Struct, frozen=True):
    customer: str
    cents: int
    currency: str


@event("LoanApproved")
class Approved(msgspec.Struct, frozen=True):
    amount: int


KINDS: list[Any] = [Requested, RequestedData, RequestedModel]


def stored(new: hw.NewEvent | list[hw.NewEvent], stream: str = "loan-173688") -> list[hw.Event]:
    """As a reader gets it."""
    from headwater import sync

    with sync.connect("memory:") as store:
        store.append(stream, new)
        return list(store.read_all())


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_comes_back_as_it_was(kind: Any) -> None:
    codec = Codec([kind, Approved])
    body = kind(applicant="112", amount=20000, at=datetime(2026, 11, 23, 12, tzinfo=UTC))
    (read,) = stored(codec.encode(body, tags=["branch:7"], metadata={"user": "anna"}))
    assert codec.decode(read) == body
    assert (read.type, read.tags) == ("LoanRequested", ("applicant:112", "branch:7"))
    assert read.metadata == {"user": "anna"}, "version 1 needs no word"
    assert read.data["amount"] == 20000


@pytest.mark.parametrize("kind", KINDS)
def test_a_weak_schema_passes_over_what_it_does_not_know(kind: Any) -> None:
    (read,) = stored(hw.NewEvent("LoanRequested", {"applicant": "112", "amount": 5, "colour": "red"}))
    assert Codec([kind]).decode(read) == kind(applicant="112", amount=5)
    with pytest.raises(UnreadableEvent, match=r"colour|[Ee]xtra"):
        Codec([kind], strict=True).decode(read)


@pytest.mark.parametrize("kind", KINDS)
def test_a_strict_codec_reads_what_it_wrote(kind: Any) -> None:
    codec = Codec([kind], strict=True)
    body = kind(applicant="112", amount=1)
    (read,) = stored(codec.encode(body))
    assert codec.decode(read) == body
    assert codec.encode(codec.decode(read)).type == "LoanRequested"


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_class_cannot_hold_is_told_with_its_place(kind: Any) -> None:
    (read,) = stored(hw.NewEvent("LoanRequested", {"applicant": "112", "amount": "many"}))
    with pytest.raises(UnreadableEvent, match="amount") as refused:
        Codec([kind]).decode(read)
    assert (refused.value.type, refused.value.version, refused.value.position) == ("LoanRequested", 1, 1)


def test_unknown_types_are_read_as_they_are() -> None:
    (read,) = stored(hw.NewEvent("LoanLost", {"by": "fire"}))
    assert Codec([Requested]).decode(read) == Unknown("LoanLost", 1, {"by": "fire"})
    with pytest.raises(UnreadableEvent, match="no class is declared"):
        Codec([Requested], strict=True).decode(read)


def test_bytes_are_no_fields() -> None:
    first, unknown = stored(
        [
            hw.NewEvent("LoanRequested", b"\x00", content_type="application/avro", metadata={"schema_version": 2}),
            hw.NewEvent("Scan", b"\x00", content_type="image/png"),
        ]
    )
    codec = Codec([RequestedThird])
    with pytest.raises(UnreadableEvent, match="application/avro"):
        codec.decode(first)
    assert codec.decode(unknown) == Unknown("Scan", 1, b"\x00")


def test_old_versions_are_brought_up() -> None:
    codec = Codec([RequestedThird])
    wanted = RequestedThird("112", 20000_00, "EUR")
    old = [
        hw.NewEvent("LoanRequested", {"applicant": "112", "amount": 20000}),
        hw.NewEvent(
            "LoanRequested", {"customer": "112", "amount": 20000, "currency": "EUR"}, metadata={"schema_version": 2}
        ),
        codec.encode(wanted),
    ]
    read = stored(old)
    assert [codec.decode(each) for each in read] == [wanted] * 3
    assert read[2].metadata == {"schema_version": 3}


def test_a_converter_may_change_its_dict_and_defaults_are_not_shared() -> None:
    change = Change(default={"notes": []})
    given = {"amount": 1}
    change(given)["notes"].append("once")
    assert change(given) == {"amount": 1, "notes": []}
    assert given == {"amount": 1}


def test_an_upcaster_that_fails_is_told() -> None:
    (read,) = stored(hw.NewEvent("LoanRequested", {"customer": "112"}, metadata={"schema_version": 2}))
    with pytest.raises(UnreadableEvent, match=r"version 2.*amount"):
        Codec([RequestedThird]).decode(read)


def test_an_older_version_can_be_written_while_old_programs_run() -> None:
    codec = Codec([RequestedThird], write={"LoanRequested": 2})
    (read,) = stored(codec.encode(RequestedThird("112", 500, "EUR")))
    assert (read.data, read.metadata) == ({"customer": "112", "currency": "EUR", "amount": 5}, {"schema_version": 2})
    assert codec.decode(read) == RequestedThird("112", 500, "EUR")


def test_a_newer_version_is_read_where_it_can_be() -> None:
    later = [
        hw.NewEvent("LoanApproved", {"amount": 5, "by": "anna"}, metadata={"schema_version": 9}),
        hw.NewEvent("LoanApproved", {"cents": 500}, metadata={"schema_version": 9}),
    ]
    read = stored(later)
    codec = Codec([Approved])
    assert codec.decode(read[0]) == Approved(5)
    assert codec.decode(read[1]) == Unknown("LoanApproved", 9, {"cents": 500})
    with pytest.raises(UnreadableEvent, match="newer program"):
        Codec([Approved], strict=True).decode(read[0])


@event("NameChanged")
class NameChanged(msgspec.Struct, frozen=True):
    first: str
    last: str


async def test_one_event_is_read_as_several_and_several_as_one() -> None:
    codec = Codec(
        [Requested, Approved, NameChanged],
        reshape=[
            Split(
                "LoanGranted",
                1,
                lambda old: [
                    ("LoanRequested", 1, {"applicant": old["who"], "amount": old["amount"]}),
                    ("LoanApproved", 1, {"amount": old["amount"]}),
                ],
            ),
            Split("Migrated", 1, lambda old: []),
            Merge(
                ("FirstNameChanged", "LastNameChanged"),
                lambda parts: ("NameChanged", 1, {"first": parts[0]["name"], "last": parts[1]["name"]}),
            ),
        ],
    )
    async with hw.connect("memory:") as store:
        first, last = (hw.NewEvent(f"{part}NameChanged", {"name": part}) for part in ("First", "Last"))
        lone = hw.NewEvent("FirstNameChanged", {"name": "Ada"})
        await store.append("loan-1", [hw.NewEvent("LoanGranted", {"who": "112", "amount": 5}), lone, first, last])
        await store.append("loan-2", [hw.NewEvent("Migrated", {}), hw.NewEvent("FirstNameChanged", {"name": "Bo"})])
        read = [(event.position, body) async for event, body in codec.read(store.read_all())]
    assert read == [
        (1, Requested("112", 5)),
        (1, Approved(5)),
        (2, Unknown("FirstNameChanged", 1, {"name": "Ada"})),
        (4, NameChanged("First", "Last")),
        (6, Unknown("FirstNameChanged", 1, {"name": "Bo"})),
    ]


@pytest.mark.parametrize(
    "reshape",
    [
        Split("LoanGranted", 1, lambda old: [("LoanApproved", 1, {"amount": "x"})]),
        Split("LoanGranted", 1, lambda old: [("LoanApproved", 1, {"amount": old["amount"]})]),
        Merge(("LoanGranted",), lambda parts: ("LoanApproved", 1, {"amount": parts[0]["amount"]})),
    ],
)
async def test_a_reshaping_that_fails_is_told(reshape: Split | Merge) -> None:
    codec = Codec([Approved], reshape=[reshape])
    async with hw.connect("memory:") as store:
        await store.append("loan-1", hw.NewEvent("LoanGranted", {}))
        with pytest.raises(UnreadableEvent, match=r"LoanGranted.*position 1.*amount"):
            [body async for _, body in codec.read(store.read("loan-1"))]


def test_the_stored_name_has_nothing_to_do_with_the_classs_own() -> None:
    assert Codec([RequestedThird]).encode(RequestedThird("1", 1, "EUR")).type == "LoanRequested"


def test_a_json_schema_of_every_type() -> None:
    schema = Codec([RequestedThird, Approved, NameChanged]).json_schema()
    assert list(schema["$defs"]) == ["LoanApproved", "LoanRequested", "NameChanged"]
    assert schema["$defs"]["LoanRequested"]["$id"] == "urn:headwater:event:LoanRequested:3"


class Undeclared(Approved, frozen=True):
    """No event by inheritance."""


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Codec([Undeclared]), "is not declared as an event"),
        (lambda: Codec([Requested, RequestedData]), "is declared by Requested and by RequestedData"),
        (lambda: Codec([Requested], write={"Loan": 1}), "stands in write="),
        (lambda: Codec([RequestedThird], write={"LoanRequested": 1}), "no downcast from version 2"),
        (lambda: Codec([RequestedThird], write={"LoanRequested": 4}), "has version 3"),
        (lambda: event("")(Approved), "names no type"),
        (lambda: event("X", version=0)(Approved), "has the version 0"),
        (lambda: event("X", version=3, upcast={1: Change()})(Approved), "how version 2 becomes 3"),
        (lambda: event("X", upcast={1: Change()})(Approved), "converter from version 1"),
        (lambda: Codec([event("X")(type("Plain", (), {}))]), "no class whose fields can be stored"),
    ],
)
def test_a_declaration_that_cannot_hold_is_refused(wrong: Any, says: str) -> None:
    with pytest.raises(InvalidType, match=says):
        wrong()


def test_an_object_of_another_class_is_refused() -> None:
    with pytest.raises(hw.InvalidEvent, match="NameChanged is not one of this codec's types"):
        Codec([Approved]).encode(NameChanged("a", "b"))
