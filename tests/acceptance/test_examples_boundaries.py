"""The published examples of consistency boundaries, stage by stage, and each with two at once on memory and SQLite."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from examples.boundaries import Refused
from examples.boundaries.courses import Courses
from examples.boundaries.duplicates import Orders
from examples.boundaries.invoices import Invoices
from examples.boundaries.opt_in import SignUps
from examples.boundaries.prices import Shop
from examples.boundaries.usernames import Accounts

import headwater as hw

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


@pytest.fixture(params=["memory:", "sqlite:///rules.db"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[hw.EventStore]:
    monkeypatch.chdir(tmp_path)
    async with hw.connect(request.param) as store:
        yield store


async def at_once(store: hw.EventStore, *calls: Awaitable[object], conflict: bool = True) -> list[object]:
    """What comes of the calls, when each has read and decided before any appends. There must be a conflict, or none."""
    append, waiting, conflicts = store.append, len(calls), 0
    barrier = asyncio.Barrier(len(calls))

    async def together(*arguments: Any, **options: Any) -> Any:
        nonlocal waiting, conflicts
        if waiting:
            waiting -= 1
            await barrier.wait()
        try:
            return await append(*arguments, **options)
        except hw.AppendConditionFailed:
            conflicts += 1
            raise

    store.append = together  # type: ignore[method-assign]
    try:
        done = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
    finally:
        del store.append
    assert (conflicts >= len(calls) - 1) if conflict else conflicts == 0
    return done


def refusals(done: list[object]) -> list[str]:
    """The texts of the refusals; no call may have failed otherwise."""
    others = [each for each in done if isinstance(each, BaseException) and not isinstance(each, Refused)]
    assert others == []
    return [str(each) for each in done if isinstance(each, Refused)]


async def overtaken(store: hw.EventStore, slow: Awaitable[object], fast: Awaitable[object]) -> None:
    """``slow`` decides; then ``fast`` is faster; then ``slow`` appends."""
    append = store.append

    async def late(*arguments: Any, **options: Any) -> Any:
        del store.append
        await fast
        return await append(*arguments, **options)

    store.append = late  # type: ignore[method-assign]
    await slow


async def types(store: hw.EventStore) -> list[str]:
    return [event.type async for event in store.read_all()]


class TestCourses:
    async def test_a_course_is_defined_once(self, store: hw.EventStore) -> None:
        courses = Courses(store)
        done = await at_once(store, courses.define("c1", 10), courses.define("c1", 20))
        assert refusals(done) == ["c1 is defined already"]

    async def test_its_capacity_changes(self, store: hw.EventStore) -> None:
        courses = Courses(store)
        with pytest.raises(Refused, match="no course c1"):
            await courses.change_capacity("c1", 1)
        await courses.define("c1", 0)
        await courses.change_capacity("c1", 0)
        with pytest.raises(Refused, match="c1 is full"):
            await courses.subscribe("c1", "s1")
        await courses.change_capacity("c1", 1)
        await courses.subscribe("c1", "s1")
        assert await types(store) == ["CourseDefined", "CourseCapacityChanged", "StudentSubscribed"]

    async def test_two_students_want_the_last_seat(self, store: hw.EventStore) -> None:
        courses = Courses(store)
        await courses.define("c1", 2)
        await courses.subscribe("c1", "s0")
        assert refusals(await at_once(store, courses.subscribe("c1", "s1"), courses.subscribe("c1", "s2"))) == [
            "c1 is full"
        ]

    async def test_a_student_wants_a_sixth_course_in_two_windows(self, store: hw.EventStore) -> None:
        courses = Courses(store)
        for number in range(6):
            await courses.define(f"c{number}", 10)
        for number in range(4):
            await courses.subscribe(f"c{number}", "s1")
        with pytest.raises(Refused, match="s1 takes c0 already"):
            await courses.subscribe("c0", "s1")
        assert refusals(await at_once(store, courses.subscribe("c4", "s1"), courses.subscribe("c5", "s1"))) == [
            "s1 takes 5 courses already"
        ]

    async def test_two_students_of_two_courses_do_not_wait_for_each_other(self, store: hw.EventStore) -> None:
        courses = Courses(store)
        await courses.define("c1", 1)
        await courses.define("c2", 1)
        await at_once(store, courses.subscribe("c1", "s1"), courses.subscribe("c2", "s2"), conflict=False)
        assert (await types(store)).count("StudentSubscribed") == 2


class TestUsernames:
    async def test_two_want_one_name(self, store: hw.EventStore) -> None:
        accounts = Accounts(store)
        tries = [accounts.register(number, "ada", now=NOON) for number in ("1", "2")]
        assert refusals(await at_once(store, *tries)) == ["ada is taken"]

    async def test_the_name_of_a_closed_account_is_free_after_three_days(self, store: hw.EventStore) -> None:
        accounts = Accounts(store)
        await accounts.register("1", "ada", now=NOON)
        await accounts.close("1", now=NOON)
        await accounts.close("1", now=NOON)
        with pytest.raises(Refused, match="kept back until 05 November"):
            await accounts.register("2", "ada", now=NOON + 3 * DAY - MINUTE)
        await accounts.register("2", "ada", now=NOON + 3 * DAY)
        with pytest.raises(Refused, match="ada is taken"):
            await accounts.register("3", "ada", now=NOON + 9 * DAY)
        assert await types(store) == ["AccountRegistered", "AccountClosed", "AccountRegistered"]

    async def test_one_changes_to_the_name_that_another_registers(self, store: hw.EventStore) -> None:
        accounts = Accounts(store)
        await accounts.register("1", "ada", now=NOON)
        tries = [accounts.change_name("1", "countess", now=NOON), accounts.register("2", "countess", now=NOON)]
        assert refusals(await at_once(store, *tries)) == ["countess is taken"]

    async def test_a_changed_name_is_kept_back_too(self, store: hw.EventStore) -> None:
        accounts = Accounts(store)
        with pytest.raises(Refused, match="no account 1"):
            await accounts.change_name("1", "ada", now=NOON)
        await accounts.register("1", "ada", now=NOON)
        await accounts.change_name("1", "countess", now=NOON)
        await accounts.change_name("1", "countess", now=NOON)
        with pytest.raises(Refused, match="ada is kept back"):
            await accounts.register("2", "ada", now=NOON + DAY)
        await accounts.register("2", "ada", now=NOON + 3 * DAY)
        with pytest.raises(Refused, match="account 2 is ada already"):
            await accounts.register("2", "emmy", now=NOON)
        assert await types(store) == ["AccountRegistered", "UsernameChanged", "AccountRegistered"]


class TestInvoices:
    async def test_numbers_have_no_gap_though_all_come_at_once(self, store: hw.EventStore) -> None:
        invoices = Invoices(store)
        numbers = await at_once(store, *[invoices.create("112", 2_000) for _ in range(5)])
        assert sorted(numbers) == [1, 2, 3, 4, 5]  # type: ignore[type-var]
        assert await invoices.create("113", 500) == 6

    async def test_an_invoice_sent_again_keeps_its_number(self, store: hw.EventStore) -> None:
        invoices = Invoices(store)
        assert [await invoices.create("112", 2_000, id="order-7") for _ in range(2)] == [1, 1]
        assert await invoices.create("112", 2_000) == 2


class TestOptIn:
    async def test_a_token_clicked_twice_confirms_once(self, store: hw.EventStore) -> None:
        sign_ups = SignUps(store)
        token = await sign_ups.start("ada@example.org", now=NOON)
        clicks = [sign_ups.confirm("ada@example.org", token, now=NOON) for _ in range(2)]
        assert refusals(await at_once(store, *clicks)) == ["this token was used before"]

    async def test_a_token_is_for_its_address(self, store: hw.EventStore) -> None:
        sign_ups = SignUps(store)
        token = await sign_ups.start("ada@example.org", now=NOON)
        for mail, wrong in (("emmy@example.org", token), ("ada@example.org", "guessed")):
            with pytest.raises(Refused, match="not given to this address"):
                await sign_ups.confirm(mail, wrong, now=NOON)

    async def test_a_token_expires_after_an_hour(self, store: hw.EventStore) -> None:
        sign_ups = SignUps(store)
        token = await sign_ups.start("ada@example.org", now=NOON)
        with pytest.raises(Refused, match="expired"):
            await sign_ups.confirm("ada@example.org", token, now=NOON + 61 * MINUTE)
        await sign_ups.confirm("ada@example.org", token, now=NOON + 60 * MINUTE)
        assert await types(store) == ["SignUpStarted", "SignUpConfirmed"]


class TestPrices:
    @pytest.fixture
    async def shop(self, store: hw.EventStore) -> Shop:
        shop = Shop(store)
        await shop.define("tea", 450)
        await shop.define("cup", 900)
        return shop

    async def test_an_order_is_taken_at_the_price_that_holds(self, shop: Shop) -> None:
        await shop.order({"tea": 450}, now=NOON)
        for product, cents in (("tea", 449), ("cake", 450)):
            with pytest.raises(Refused, match=f"{product} does not cost {cents}"):
                await shop.order({product: cents}, now=NOON)
        with pytest.raises(Refused, match="tea is defined already"):
            await shop.define("tea", 1)

    async def test_the_price_of_before_holds_for_ten_minutes(self, shop: Shop) -> None:
        await shop.change_price("tea", 500, instead_of=450, now=NOON)
        await shop.change_price("tea", 550, instead_of=500, now=NOON + 5 * MINUTE)
        for cents in (450, 500, 550):
            await shop.order({"tea": cents}, now=NOON + 10 * MINUTE)
        with pytest.raises(Refused, match="tea does not cost 450"):
            await shop.order({"tea": 450}, now=NOON + 11 * MINUTE)
        await shop.order({"tea": 500}, now=NOON + 11 * MINUTE)

    async def test_two_change_a_price_at_once(self, store: hw.EventStore, shop: Shop) -> None:
        tries = [shop.change_price("tea", cents, instead_of=450, now=NOON) for cents in (500, 400)]
        (refusal,) = refusals(await at_once(store, *tries))
        assert refusal in ("tea costs 500, not 450", "tea costs 400, not 450")

    @pytest.mark.parametrize(("minutes", "taken"), [(9, True), (11, False)])
    async def test_a_price_changes_under_the_hands_of_a_customer_with_a_cart(
        self, store: hw.EventStore, shop: Shop, minutes: int, taken: bool
    ) -> None:
        order = shop.order({"tea": 450, "cup": 900}, now=NOON + minutes * MINUTE)
        change = shop.change_price("cup", 950, instead_of=900, now=NOON)
        if taken:
            await overtaken(store, order, change)
        else:
            with pytest.raises(Refused, match="cup does not cost 900"):
                await overtaken(store, order, change)
        assert await types(store) == ["ProductDefined"] * 2 + ["ProductPriceChanged"] + ["ProductsOrdered"] * taken

    async def test_a_price_that_is_not_in_the_cart_may_change_meanwhile(self, store: hw.EventStore, shop: Shop) -> None:
        order = shop.order({"tea": 450}, now=NOON)
        change = shop.change_price("cup", 950, instead_of=900, now=NOON)
        assert refusals(await at_once(store, order, change, conflict=False)) == []
        assert len(await types(store)) == 4


class TestDuplicates:
    async def test_a_form_sent_twice_makes_one_order(self, store: hw.EventStore) -> None:
        orders = Orders(store)
        done = await at_once(store, orders.place("order-1", "d3b0"), orders.place("order-2", "d3b0"))
        assert refusals(done) == ["this form was sent before"]
        await orders.place("order-3", "9c1e")
        assert await types(store) == ["OrderPlaced"] * 2

    async def test_or_gets_the_first_answer_again(self, store: hw.EventStore) -> None:
        orders = Orders(store)
        tries = [orders.place_or_find(f"order-{number}", "d3b0") for number in (1, 2, 3)]
        done = await asyncio.gather(*tries)
        assert len(set(done)) == 1
        assert await orders.place_or_find("order-4", "d3b0") == done[0]
        assert await types(store) == ["OrderPlaced"]


@pytest.mark.parametrize("name", ["courses", "usernames", "invoices", "opt_in", "prices", "duplicates"])
async def test_the_example_runs_as_a_program(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    await importlib.import_module(f"examples.boundaries.{name}").main()
    assert capsys.readouterr().out
