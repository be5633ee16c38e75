"""The FastAPI example, asked as its clients ask it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from examples.fastapi_service.app import create_app
from fastapi import FastAPI

import headwater as hw


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[FastAPI]:
    app = create_app(tmp_path)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bank") as client:
        yield client


async def signed(client: httpx.AsyncClient, loan: int) -> None:
    for command, fields in (
        ("request", {"amount": 20_000}),
        ("preaccept", {}),
        ("accept", {"by": "10862"}),
        ("send-offer", {"by": "10862"}),
        ("return-offer", {}),
    ):
        assert (await client.post(f"/loans/{loan}/{command}", json=fields)).status_code == 200


async def test_what_was_written_is_read(client: httpx.AsyncClient) -> None:
    receipt = (await client.post("/loans/173688/request", json={"amount": 20_000})).json()
    assert receipt == {"events": ["LoanRequested"], "position": 1, "duplicate": False}
    receipt = (await client.post("/loans/173688/preaccept")).json()
    row = await client.get("/loans/173688", params={"after": receipt["position"]})
    assert row.json() == {"loan": "loan-173688", "amount": 20_000, "stage": "preaccepted", "offers": 0}


async def test_a_command_of_one_key_is_executed_once(client: httpx.AsyncClient, app: FastAPI) -> None:
    key = {"Idempotency-Key": "4711"}
    sent = [client.post("/loans/173688/request", json={"amount": 20_000}, headers=key) for _ in range(3)]
    receipts = [answer.json() for answer in await asyncio.gather(*sent)]
    assert sorted(receipt.pop("duplicate") for receipt in receipts) == [False, True, True]
    assert receipts == [{"events": ["LoanRequested"], "position": 1}] * 3
    assert await app.state.store.head() == 1


async def test_a_refusal_is_409_and_says_why(client: httpx.AsyncClient) -> None:
    await client.post("/loans/173688/request", json={"amount": 20_000})
    answer = await client.post("/loans/173688/approve", json={"by": "10629"})
    assert (answer.status_code, answer.json()) == (409, {"detail": "the customer has signed no offer"})


async def test_of_two_who_decide_at_once_one_is_told(client: httpx.AsyncClient) -> None:
    await signed(client, 173688)
    both = [
        client.post("/loans/173688/approve", json={"by": "10629"}),
        client.post("/loans/173688/decline", json={"by": "10138"}),
    ]
    answers = await asyncio.gather(*both)
    assert sorted(answer.status_code for answer in answers) == [200, 409]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (hw.WrongExpectedVersion("loan-173688", 1, 2), 409),
        (hw.StoreUnavailable("the disk is full", "Make room."), 503),
        (hw.OutcomeUnknown([], "the connection broke"), 503),
    ],
)
async def test_errors_of_the_store_have_a_status(
    client: httpx.AsyncClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    async def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(app.state.desk, "execute", fails)
    answer = await client.post("/loans/173688/cancel")
    assert (answer.status_code, answer.json()) == (status, {"detail": str(error)})
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_what_can_not_be_understood(client: httpx.AsyncClient) -> None:
    assert (await client.post("/loans/173688/request", json={"amount": "much"})).status_code == 422
    assert (await client.post("/loans/173688/repaint")).status_code == 404
    assert (await client.get("/loans/173688")).status_code == 404


async def test_events_carry_the_id_of_their_request(client: httpx.AsyncClient, app: FastAPI) -> None:
    given = await client.post("/loans/173688/request", json={"amount": 5}, headers={"X-Request-ID": "r-1"})
    made = await client.post("/loans/173688/preaccept", headers={"Idempotency-Key": "4712"})
    traces = [event.metadata async for event in app.state.store.read("loan-173688")]
    assert given.headers["X-Request-ID"] == "r-1"
    assert traces == [
        {"correlation_id": "r-1"},
        {"correlation_id": made.headers["X-Request-ID"], "causation_id": "4712"},
    ]


async def test_the_log_is_followed_from_where_a_browser_was(client: httpx.AsyncClient, app: FastAPI) -> None:
    await client.post("/loans/173688/request", json={"amount": 20_000})
    got: asyncio.Queue[str] = asyncio.Queue()
    gone = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        if body := message.get("body"):
            got.put_nowait(body.decode())

    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    for last, first in (("0", "id: 1\nevent: LoanRequested\n"), ("1", "id: 2\nevent: LoanPreaccepted\n")):
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/events",
            "query_string": b"",
            "headers": [(b"last-event-id", last.encode())],
        }
        following = asyncio.create_task(app(scope, receive, send))  # type: ignore[arg-type]
        if last == "1":
            await client.post("/loans/173688/preaccept")
        assert (await asyncio.wait_for(got.get(), 2)).startswith(first)
        gone.set()  # the browser closes the page
        await asyncio.wait_for(following, 2)
        gone.clear()
