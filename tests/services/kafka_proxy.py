"""A connection to a broker that is cut at a chosen moment: when a client ends a transaction."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Literal

__all__ = ["Proxy"]

END_TXN = 26
"""The key of the request that commits (https://kafka.apache.org/protocol#protocol_api_keys)."""

Moment = Literal["never", "before", "after"]


class Proxy:
    """Hands bytes on between ``front`` and the broker ``behind``, until ``cut`` says that a commit ends that.

    ``before``: the broker never hears of the commit. ``after``: it does, and its answer goes nowhere. Then nobody gets
    through until ``mend``.
    """

    def __init__(self, front: int, behind: int) -> None:
        self.url = f"127.0.0.1:{front}"
        self.cut: Moment = "never"
        self._behind = behind
        self._down = False
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", front))
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._hang_up()

    @property
    def down(self) -> bool:
        """Whether the connection was cut."""
        return self._down

    def mend(self) -> None:
        """Let everything through again."""
        self.cut = "never"
        self._down = False

    def _serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                if self._down:
                    client.close()
                    continue
                broker = socket.create_connection(("127.0.0.1", self._behind))
                self._open += [client, broker]
                for hand_on, start, end in ((self._requests, client, broker), (self._answers, broker, client)):
                    threading.Thread(target=hand_on, args=(start, end), daemon=True).start()

    def _requests(self, client: socket.socket, broker: socket.socket) -> None:
        with suppress(OSError), client.makefile("rb") as incoming:
            while size := incoming.read(4):
                request = incoming.read(int.from_bytes(size))
                if self.cut != "never" and int.from_bytes(request[:2]) == END_TXN:
                    if self.cut == "after":
                        self._down = True  # the answer is dropped
                        broker.sendall(size + request)
                        time.sleep(0.3)
                    self._hang_up()
                    return
                broker.sendall(size + request)
        self._end(client, broker)

    def _answers(self, broker: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while (data := broker.recv(65536)) and not self._down:
                client.sendall(data)
        self._end(client, broker)

    def _end(self, *sockets: socket.socket) -> None:
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _hang_up(self) -> None:
        self._down = True
        ended, self._open = self._open, []
        self._end(*ended)
