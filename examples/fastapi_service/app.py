"""The service: the store is open as long as the service runs; commands come in by POST, and rows go out by GET."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import Body, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse

import headwater as hw
from examples.fastapi_service.tracing import Tracing
from examples.loans import rules
from examples.loans.desk import Desk
from examples.loans.overview import Overview

COMMANDS: dict[str, type[rules.Command]] = {
    "request": rules.Request,
    "preaccept": rules.Preaccept,
    "accept": rules.Accept,
    "send-offer": rules.SendOffer,
    "withdraw-offer": rules.WithdrawOffer,
    "return-offer": rules.ReturnOffer,
    "approve": rules.Approve,
    "decline": rules.Decline,
    "cancel": rules.Cancel,
}

Loan = dict[str, Any]
Receipt = dict[str, Any]


def create_app(folder: Path = Path("demo/service")) -> FastAPI:
    """The application, with its store and its read model in this folder."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        folder.mkdir(parents=True, exist_ok=True)
        async with (
            hw.connect(f"sqlite:///{folder}/loans.db") as store,
            hw.Projector(store, Overview(), into=f"sqlite:///{folder}/overview.db") as overview,
            overview.running(),
        ):
            app.state.store, app.state.desk, app.state.overview = store, Desk(store), overview
            yield

    app = FastAPI(title="Loans", lifespan=lifespan)
    app.add_middleware(Tracing)
    for error, status in STATUS.items():
        app.add_exception_handler(error, _answer(status))

    @app.post("/loans/{loan}/{command}")
    async def execute(
        loan: str,
        command: str,
        fields: Annotated[dict[str, Any] | None, Body()] = None,
        idempotency_key: Annotated[str | None, Header()] = None,
    ) -> Receipt:
        """Execute a command once, however often it is sent with one Idempotency-Key."""
        if command not in COMMANDS:
            raise HTTPException(404, f"there is no command {command}; there are {', '.join(COMMANDS)}")
        asked = msgspec.convert(fields or {}, COMMANDS[command])
        done = await app.state.desk.execute(f"loan-{loan}", asked, id=idempotency_key)
        events = [type(event).__name__ for event in done.events]
        return {"events": events, "position": done.position, "duplicate": done.duplicate}

    @app.get("/loans/{loan}")
    async def show(loan: str, after: int = 0) -> Loan:
        """Where the application is. ``after`` the position of a command's receipt, to see what it did."""
        await app.state.overview.wait_for(after, timeout=2)
        found = await asyncio.to_thread(_row, folder / "overview.db", f"loan-{loan}")
        if found is None:
            raise HTTPException(404, f"there is no loan {loan}")
        return found

    @app.get("/events")
    async def follow(last_event_id: Annotated[int, Header()] = 0) -> StreamingResponse:
        """The log as server-sent events: what there is, then what comes. A browser that reconnects goes on there."""
        return StreamingResponse(_server_sent(app.state.store, last_event_id), media_type="text/event-stream")

    return app


STATUS: dict[type[Exception], int] = {
    rules.Refused: 409,
    hw.AppendRefused: 409,
    msgspec.ValidationError: 422,
    hw.NotCaughtUp: 503,
    hw.StoreUnavailable: 503,
    hw.OutcomeUnknown: 503,
}
"""A rule said no, or somebody else was faster each time: 409. Send it again, with the same Idempotency-Key: 503."""


def _answer(status: int) -> Any:
    async def answer(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status, {"Retry-After": "1"} if status == 503 else None)

    return answer


def _row(file: Path, loan: str) -> Loan | None:
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        found = connection.execute("select * from applications where loan = ?", (loan,)).fetchone()
    return None if found is None else dict(found)


async def _server_sent(store: hw.EventStore, after: int) -> AsyncIterator[str]:
    async with aclosing(store.subscribe(after=after)) as events:
        async for event in events:
            assert isinstance(event, hw.Event)
            data = msgspec.json.encode({"loan": event.stream, "data": event.data}).decode()
            yield f"id: {event.position}\nevent: {event.type}\ndata: {data}\n\n"
