"""Course subscriptions: no course is overbooked, and nobody takes too many. See https://dcb.events/examples.

In stages: 1. a course is defined once; 2. its capacity changes; 3. students subscribe while there are seats; 4. a
student subscribes to a course once, and to five at most. The last rule is about a course *and* a student, which is
what no single stream can protect.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

import headwater as hw
from examples.boundaries import Refused

COURSES_MOST = 5
"""Of one student."""


@hw.event("CourseDefined", tags=lambda event: [f"course:{event.course}"])
class CourseDefined(msgspec.Struct, frozen=True):
    course: str
    capacity: int


@hw.event("CourseCapacityChanged", tags=lambda event: [f"course:{event.course}"])
class CourseCapacityChanged(msgspec.Struct, frozen=True):
    course: str
    capacity: int


@hw.event("StudentSubscribed", tags=lambda event: [f"course:{event.course}", f"student:{event.student}"])
class StudentSubscribed(msgspec.Struct, frozen=True):
    course: str
    student: str


CODEC = hw.Codec([CourseDefined, CourseCapacityChanged, StudentSubscribed])


def capacity(course: str) -> hw.Fact[int | None]:
    """How many seats it has; None where there is no such course."""
    tags = [f"course:{course}"]
    return hw.Fact(None, lambda _, event: event.capacity, types=[CourseDefined, CourseCapacityChanged], tags=tags)


def subscriptions(*tags: str) -> hw.Fact[int]:
    """How many there are with all of these tags."""
    return hw.Fact(0, lambda count, _: count + 1, types=[StudentSubscribed], tags=tags)


class Courses:
    """What the school's office can do."""

    def __init__(self, store: hw.EventStore) -> None:
        self._boundary = hw.Boundary(store, CODEC)

    async def define(self, course: str, seats: int) -> None:
        def decide(known: Any) -> list[object]:
            if known.capacity is not None:
                raise Refused(f"{course} is defined already")
            return [CourseDefined(course, seats)]

        await self._boundary.execute({"capacity": capacity(course)}, decide)

    async def change_capacity(self, course: str, seats: int) -> None:
        def decide(known: Any) -> list[object]:
            if known.capacity is None:
                raise Refused(f"there is no course {course}")
            return [] if known.capacity == seats else [CourseCapacityChanged(course, seats)]

        await self._boundary.execute({"capacity": capacity(course)}, decide)

    async def subscribe(self, course: str, student: str) -> None:
        of_course, of_student = f"course:{course}", f"student:{student}"

        def decide(known: Any) -> list[object]:
            if known.capacity is None:
                raise Refused(f"there is no course {course}")
            if known.taken >= known.capacity:
                raise Refused(f"{course} is full")
            if known.already:
                raise Refused(f"{student} takes {course} already")
            if known.courses >= COURSES_MOST:
                raise Refused(f"{student} takes {COURSES_MOST} courses already")
            return [StudentSubscribed(course, student)]

        facts: dict[str, hw.Fact[Any]] = {
            "capacity": capacity(course),
            "taken": subscriptions(of_course),
            "already": subscriptions(of_course, of_student),
            "courses": subscriptions(of_student),
        }
        await self._boundary.execute(facts, decide)


async def main() -> None:
    async with hw.connect("memory:") as store:
        courses = Courses(store)
        await courses.define("algebra", 1)
        await courses.subscribe("algebra", "ada")
        try:
            await courses.subscribe("algebra", "emmy")
        except Refused as refused:
            print(refused)
        await courses.change_capacity("algebra", 2)
        await courses.subscribe("algebra", "emmy")
        print([event.type async for event in store.read_all()])


if __name__ == "__main__":
    asyncio.run(main())
