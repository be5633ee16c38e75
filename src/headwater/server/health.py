"""``/health/live`` and ``/health/ready`` over plain HTTP, for what watches over processes and asks nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from headwater.errors import HeadwaterError, StoreUnavailable

__all__ = ["Health"]

REQUEST_SECONDS = 5.0
REQUEST_BYTES = 8_192
CONNECTIONS_MOST = 50

Check = Callable[[], Awaitable[object]]


class Health:
    """Answers 204 where all is well: ``live`` while the process runs, ``ready`` while the store can be read too."""

    def __init__(self, host: str, port: int, ready: Check) -> None:
        self._host = host
        self.port = port
        self._ready = ready
        self._server: asyncio.Server | None = None
        self._connections = 0

    async def start(self) -> None:
        """Listen. ``StoreUnavailable`` where the port is taken."""
        try:
            self._server = await asyncio.start_server(self._answer, self._host, self.port, limit=REQUEST_BYTES)
        except OSError as error:
            raise StoreUnavailable(
                f"can't listen on {self._host}:{self.port}: {error.strerror}", "Give another --health-port."
            ) from None
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= CONNECTIONS_MOST:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), REQUEST_SECONDS)
                status = await self._status(head.split(b" ", 2))
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                await asyncio.wait_for(writer.drain(), REQUEST_SECONDS)
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # no request: whoever that was gets no answer
        finally:
            self._connections -= 1
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _status(self, request: list[bytes]) -> str:
        if len(request) < 3 or request[0] not in (b"GET", b"HEAD"):
            return "405 Method Not Allowed"
        if request[1] == b"/health/live":
            return "204 No Content"
        if request[1] != b"/health/ready":
            return "404 Not Found"
        try:
            await asyncio.wait_for(self._ready(), REQUEST_SECONDS)
        except (HeadwaterError, TimeoutError):
            return "503 Service Unavailable"
        return "204 No Content"
