"""Our own KurrentDB server for the suite: one process beside the tests, which serves a store for each on its own port.

``python -m tests.services.kurrentdb`` is that process: it reads a line with a store's URL and writes one with the
connection string; an empty line ends the servers there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

Serve = Callable[[str], str]


@pytest.fixture(scope="session")
def kurrentdb_process() -> Iterator[subprocess.Popen[str]]:
    """The process."""
    pytest.importorskip("kurrentdbclient", reason="pip install 'headwater[server,kurrentdb]'")
    command = [sys.executable, "-W", "ignore", "-m", "tests.services.kurrentdb"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        yield process
        process.terminate()


@pytest.fixture
def serve(kurrentdb_process: subprocess.Popen[str]) -> Iterator[Serve]:
    """Serves a store, and gives the connection string for it; until the test ends."""

    def serve(store: str) -> str:
        return _asked(kurrentdb_process, store)

    yield serve
    _asked(kurrentdb_process, "")


def _asked(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    return process.stdout.readline().strip()


async def main() -> None:
    import headwater as hw
    from headwater.server import SERVER_LIMITS, KurrentServer, Settings

    serving = contextlib.AsyncExitStack()
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip():
            store = await serving.enter_async_context(hw.connect(line.strip(), limits=SERVER_LIMITS))
            server = KurrentServer(store, Settings(port=0))
            await server.start()
            serving.push_async_callback(server.stop, 0.5)
            print(server.url, flush=True)
        else:
            await serving.aclose()
            serving = contextlib.AsyncExitStack()
            print("ended", flush=True)
    await serving.aclose()


if __name__ == "__main__":
    asyncio.run(main())
