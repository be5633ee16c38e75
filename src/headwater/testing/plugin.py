"""The pytest plugin: two options, a KurrentDB for tests, and asserts that explain themselves.

Loads nothing but pytest until it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("headwater.testing.conformance")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--store-url`` and ``--promises``."""
    group = parser.getgroup("headwater")
    group.addoption(
        "--store-url",
        metavar="URL",
        help="the store that 'pytest --pyargs headwater.testing.conformance' tests; '{unique}' in it becomes "
        "a text of its own for each test, e.g. 'sqlite:////tmp/{unique}.db'",
    )
    group.addoption(
        "--promises",
        metavar="FILE",
        type=Path,
        help="write to this JSON file which promises of the suite were kept, and why others were not",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Record what came of the suite, where that was asked for."""
    file = config.getoption("--promises")
    if file is not None:
        from headwater.testing.recording import Recorder

        config.pluginmanager.register(Recorder(file), "headwater-promises")


@pytest.fixture
def kurrentdb_url() -> Iterator[str]:
    """The connection string of an empty KurrentDB, which is gone after the test: ``headwater serve memory:``.

    For any client of KurrentDB. Needs the extras ``server`` and ``cli``.
    """
    from headwater.testing.serving import ServerProcess

    with ServerProcess() as server:
        yield server.url
