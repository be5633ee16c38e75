"""Every event carries the id of the request that it came from."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import headwater as hw

HEADER = "X-Request-ID"


class Tracing:
    """ASGI middleware: the request's id, or a new one, becomes the ``correlation_id`` of what is appended meanwhile."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Headers(scope=scope).get(HEADER) or str(hw.uuid7())

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request
            await send(message)

        with hw.trace(correlation_id=request):
            await self._app(scope, receive, answer)
