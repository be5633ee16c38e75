"""A KurrentDB for tests: ``headwater serve`` in a process of its own. Needs the extras ``server`` and ``cli``."""

from __future__ import annotations

import signal
import subprocess
import sys
from types import TracebackType
from typing import Self

from headwater.errors import StoreUnavailable

__all__ = ["ServerProcess"]

STOP_SECONDS = 20.0


class ServerProcess:
    """The server of one store, while ``with`` lasts. ``url`` is what its clients connect with."""

    def __init__(self, store: str = "memory:", *options: str, port: int = 0) -> None:
        self._arguments = ["serve", store, "--port", str(port), *options]
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.health = ""
        """Where ``/health/live`` is, where ``--health-port`` was among the options."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.partition("?")[0].rpartition(":")[2])

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it listens. ``StoreUnavailable`` with what it said where it does not."""
        command = [sys.executable, "-c", "from headwater.cli import main; main()", *self._arguments]
        pipe = subprocess.PIPE
        process = self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
        )
        assert process.stdout is not None
        self.url = process.stdout.readline().strip()
        if not self.url:
            _, said = process.communicate()
            self._process = None
            raise StoreUnavailable(f"the server did not start: {said.strip()}", "See what it says.", transient=False)
        if "--health-port" in self._arguments:
            self.health = process.stdout.readline().strip()

    def stop(self) -> str:
        """End it as a terminal would, and return what it has said."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power failure would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> str:
        process, self._process = self._process, None
        if process is None:
            return ""
        process.send_signal(how)
        try:
            _, said = process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
        return said

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
