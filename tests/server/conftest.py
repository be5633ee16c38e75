"""A server in a process of its own, over a file, and the clients that nobody here wrote."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from kurrentdbclient import AsyncKurrentDBClient, KurrentDBClient, NewEvent

from headwater.testing.serving import ServerProcess

_numbers = itertools.count()


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests here that don't end it: each uses streams of its own."""
    store = tmp_path_factory.mktemp("server") / "store.db"
    with ServerProcess(f"sqlite:///{store}") as running:
        yield running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers of the test's own, over a file of its own, and ends them."""
    started: list[ServerProcess] = []

    def start(*options: str, store: str = f"sqlite:///{tmp_path}/store.db", port: int = 0) -> ServerProcess:
        running = ServerProcess(store, *options, port=port)
        running.start()
        started.append(running)
        return running

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def client(server: ServerProcess) -> Iterator[KurrentDBClient]:
    """The Python client that blocks."""
    with KurrentDBClient(server.url) as connected:
        yield connected


@pytest.fixture
async def async_client(server: ServerProcess) -> AsyncIterator[AsyncKurrentDBClient]:
    """The Python client for asyncio."""
    async with AsyncKurrentDBClient(server.url) as connected:
        yield connected


@pytest.fixture
def stream() -> str:
    """A name that no other test uses, in a category of its own."""
    return f"order{next(_numbers)}x-1"


def events(*types: str, data: bytes = b'{"amount":20000}') -> list[NewEvent]:
    """New events of these types."""
    return [NewEvent(type=kind, data=data) for kind in types]
