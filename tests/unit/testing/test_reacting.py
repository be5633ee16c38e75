"""Given a history, when an event comes, then this follows: what it accepts, and how it tells what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import headwater as hw
from headwater import sync
from headwater.testing.calls import calls
from headwater.testing.reacting import GivenStore, appends, given_store, schedules
from tests.unit.deciders import bank
from tests.unit.deciders.bank import Bank, Deposited, Opened, Settled, TransferRefused, TransferRequested, Withdrawn

ACCEPTED = hw.NewEvent("A_ACCEPTED", {"amount": 20000})
SENT = hw.NewEvent("O_SENT", {"amount": 20000})
LAPSED = hw.NewEvent("O_LAPSED", {})
FORTNIGHT = timedelta(days=14)


def letters(given: GivenStore) -> Any:
    async def send_offer(event: hw.Event, reaction: hw.Reaction) -> None:
        if (await given.calls.post("/letters", key=reaction.key)) == "no such address":
            return
        await reaction.append(event.stream, hw.NewEvent("O_SENT", {"amount": event.data["amount"]}))
        await reaction.schedule(event.stream, hw.NewEvent("O_LAPSED", {}), due=FORTNIGHT)

    return send_offer


async def test_what_follows() -> None:
    async with given_store() as given:
        outcome = await given.when(letters(given), "loan-173688", ACCEPTED)
        outcome.then(
            schedules("loan-173688", LAPSED, due=FORTNIGHT),
            appends("loan-173688", SENT),
            calls("post", "/letters", key=outcome.key),
        )
        again = await given.when(letters(given), "loan-173691", hw.NewEvent("A_ACCEPTED", {"amount": 5}))
        again.then(
            appends("loan-173691", hw.NewEvent("O_SENT", {"amount": 5})),
            schedules("loan-173691", LAPSED, due=FORTNIGHT),
            calls("post", "/letters", key=again.key),
        )
        assert again.key != outcome.key


async def test_answers_of_the_world() -> None:
    async with given_store() as given:
        given.calls.answer("post", "no such address")
        outcome = await given.when(letters(given), "loan-173688", ACCEPTED)
        outcome.then(calls("post", "/letters", key=outcome.key))
        given.calls.answer("post", ConnectionError("away"))
        outcome = await given.when(letters(given), "loan-173691", ACCEPTED)
        outcome.raised(ConnectionError, match="away")
        assert isinstance(outcome.failure, ConnectionError)


async def test_a_handler_that_is_a_plain_function() -> None:
    async with given_store() as given:
        given.calls.answer("post", {"letter": 7})

        def send(event: hw.Event, reaction: sync.Reaction) -> None:
            answer = given.calls.post("/letters")
            reaction.append(event.stream, hw.NewEvent("LetterSent", answer))

        outcome = await given.when(send, "loan-173688", ACCEPTED)
        outcome.then(appends("loan-173688", hw.NewEvent("LetterSent", {"letter": 7})), calls("post", "/letters"))


async def test_a_moment_may_be_given() -> None:
    moment = datetime(2100, 1, 1, tzinfo=UTC)

    async def later(event: hw.Event, reaction: hw.Reaction) -> None:
        await reaction.schedule(event.stream, [LAPSED, SENT], due=moment)

    async with given_store() as given:
        outcome = await given.when(later, "loan-173688", ACCEPTED)
        outcome.then(schedules("loan-173688", LAPSED, SENT, due=moment))
        with pytest.raises(AssertionError, match="schedule loan-173688: O_LAPSED"):
            outcome.then(schedules("loan-173688", LAPSED, SENT, due=moment + timedelta(seconds=1)))


async def test_a_process_manager() -> None:
    async with given_store(codec=bank.CODEC) as given:
        settle = Bank(given.store).settle
        await given.happened(bank.ONE, Opened(100))
        asked = TransferRequested(bank.ONE, bank.OTHER, 70)
        (await given.when(settle, "transfer-1", asked)).then(
            appends("transfer-1", Settled()),
            appends(bank.OTHER, Deposited(70)),
            appends(bank.ONE, Withdrawn(70)),
        )
        refused = await given.when(settle, "transfer-2", asked)
        refused.then(appends("transfer-2", TransferRefused("not enough money")))
        await given.happened("transfer-3", Settled())
        (await given.when(settle, "transfer-3", Settled())).raised(AssertionError)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda outcome: outcome.then_nothing(), "+ append loan-173688: O_SENT {'amount': 20000}"),
        (lambda outcome: outcome.then_nothing(), "+ schedule loan-173688: O_LAPSED {} after 14 days, 0:00:00"),
        (lambda outcome: outcome.then_nothing(), "+ call post('/letters', key="),
        (lambda outcome: outcome.then(appends("loan-1", SENT)), "- append loan-1: O_SENT {'amount': 20000}"),
        (lambda outcome: outcome.then(calls("post", "/parcels")), "- call post('/parcels')"),
        (lambda outcome: outcome.raised(KeyError), "the handler raised nothing; it led to\nappend loan-173688: O_SENT"),
    ],
)
async def test_what_is_wrong_is_told(wrong: Any, says: str) -> None:
    async with given_store() as given:
        await given.happened("loan-173688", hw.NewEvent("A_SUBMITTED", {"amount": 20000}, tags=["applicant:112"]))
        outcome = await given.when(letters(given), "loan-173688", ACCEPTED)
        with pytest.raises(AssertionError) as told:
            wrong(outcome)
        assert says in str(told.value)
        assert str(told.value).startswith(
            "given loan-173688: A_SUBMITTED {'amount': 20000} tagged applicant:112\n"
            "when loan-173688: A_ACCEPTED {'amount': 20000}\n"
        )


async def test_tags_count() -> None:
    async def tagged(event: hw.Event, reaction: hw.Reaction) -> None:
        await reaction.append(event.stream, hw.NewEvent("O_SENT", {"amount": 20000}, tags=["offer:7"]))

    async with given_store() as given:
        outcome = await given.when(tagged, "loan-173688", ACCEPTED)
        with pytest.raises(AssertionError, match=r"\+ append loan-173688: .* tagged offer:7"):
            outcome.then(appends("loan-173688", SENT))


async def test_a_failure_is_told() -> None:
    async def fails(event: hw.Event, reaction: hw.Reaction) -> None:
        raise ConnectionError("away")

    async with given_store() as given:
        outcome = await given.when(fails, "loan-173688", ACCEPTED)
        with pytest.raises(AssertionError, match=r"given nothing\nwhen .*\nthe handler raised Conn"):
            outcome.then_nothing()
        with pytest.raises(AssertionError, match="not KeyError, 'x'"):
            outcome.raised(KeyError, match="x")
        with pytest.raises(AssertionError, match="not ConnectionError, 'here'"):
            outcome.raised(ConnectionError, match="here")
