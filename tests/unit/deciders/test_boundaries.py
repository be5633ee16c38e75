"""Decisions over queries, by the published examples of dynamic consistency boundaries (https://dcb.events/examples)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

import headwater as hw
from headwater.deciders import Boundary, Fact
from headwater.typed import Codec, event


@event("CourseDefined", tags=lambda e: [f"course:{e.course}"])
class CourseDefined(msgspec.Struct, frozen=True):
    course: str
    capacity: int


@event("StudentSubscribed", tags=lambda e: [f"course:{e.course}", f"student:{e.student}"])
class StudentSubscribed(msgspec.Struct, frozen=True):
    course: str
    student: str


@event("InvoiceCreated")
class InvoiceCreated(msgspec.Struct, frozen=True):
    number: int


CODEC = Codec([CourseDefined, StudentSubscribed, InvoiceCreated])


class No(Exception):
    pass


def capacity(course: str) -> Fact[int]:
    return Fact(0, lambda _, e: e.capacity, types=[CourseDefined], tags=[f"course:{course}"])


def taken(course: str) -> Fact[int]:
    return Fact(0, lambda count, _: count + 1, types=[StudentSubscribed], tags=[f"course:{course}"])


def subscribed(course: str, student: str) -> Fact[bool]:
    tags = [f"course:{course}", f"student:{student}"]
    return Fact(False, lambda *_: True, types=[StudentSubscribed], tags=tags)


def courses_of(student: str) -> Fact[int]:
    return Fact(0, lambda count, _: count + 1, types=["StudentSubscribed"], tags=[f"student:{student}"])


class Courses:
    def __init__(self, store: hw.EventStore) -> None:
        self.boundary = Boundary(store, CODEC)

    async def define(self, course: str, seats: int) -> None:
        await self.boundary.execute({"capacity": capacity(course)}, lambda model: [CourseDefined(course, seats)])

    async def subscribe(self, course: str, student: str) -> None:
        def decide(model: Any) -> list[object]:
            if not model.capacity:
                raise No("no such course")
            if model.taken >= model.capacity:
                raise No("full")
            if model.subscribed:
                raise No("subscribed already")
            if model.courses >= 5:
                raise No("five courses already")
            return [StudentSubscribed(course, student)]

        facts = {
            "capacity": capacity(course),
            "taken": taken(course),
            "subscribed": subscribed(course, student),
            "courses": courses_of(student),
        }
        await self.boundary.execute(facts, decide)


@pytest.fixture
async def store() -> AsyncIterator[hw.EventStore]:
    async with hw.connect("memory:") as store:
        yield store


async def test_a_course_is_never_overbooked(store: hw.EventStore) -> None:
    courses = Courses(store)
    await courses.define("c1", 10)
    await courses.define("c2", 1)
    tries = [courses.subscribe("c1", f"s{number}") for number in range(30)]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(each is None for each in done) == 10
    assert {str(each) for each in done if each is not None} == {"full"}
    with pytest.raises(No, match="no such course"):
        await courses.subscribe("c9", "s1")


async def test_a_student_has_five_courses_at_most(store: hw.EventStore) -> None:
    courses = Courses(store)
    for number in range(8):
        await courses.define(f"c{number}", 10)
    done = await asyncio.gather(*[courses.subscribe(f"c{n}", "s1") for n in range(8)], return_exceptions=True)
    assert sum(each is None for each in done) == 5
    model = await courses.boundary.model({"courses": courses_of("s1")})
    assert model.facts.courses == 5


async def test_invoice_numbers_have_no_gap(store: hw.EventStore) -> None:
    boundary = Boundary(store, CODEC, retry=hw.Retry(attempts=None, first=0.001, most=0.01))
    number = Fact(1, lambda _, e: e.number + 1, types=[InvoiceCreated], last=True)

    async def create() -> int:
        done = await boundary.execute(
            {"number": number}, lambda model: [InvoiceCreated(model.number)], tags=["invoices:all"]
        )
        created: int = done.events[0].number
        return created

    assert sorted(await asyncio.gather(*[create() for _ in range(20)])) == list(range(1, 21))


async def test_a_command_of_one_id_is_executed_once(store: hw.EventStore) -> None:
    boundary = Boundary(store, CODEC)
    facts = {"taken": taken("c1")}
    first = await boundary.execute(facts, lambda model: [CourseDefined("c1", 3)], id="define-1")
    again = await boundary.execute(facts, lambda model: [CourseDefined("c1", 9)], id="define-1")
    assert (again.events, again.position, again.duplicate) == (first.events, first.position, True)
    assert await store.head() == 1


async def test_a_decision_without_facts_or_without_events(store: hw.EventStore) -> None:
    boundary = Boundary(store, CODEC)
    assert (await boundary.execute({}, lambda model: [CourseDefined("c1", 3)])).position == 1
    assert (await boundary.execute({}, lambda model: [])).events == ()
    with pytest.raises(hw.InvalidQuery, match="no query, or two"):
        Fact(0, lambda state, _: state)
