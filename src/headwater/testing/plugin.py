"""The pytest plugin: one option, and asserts that explain themselves. Loads nothing but pytest until it is used."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("headwater.testing.conformance")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--store-url``."""
    parser.getgroup("headwater").addoption(
        "--store-url",
        metavar="URL",
        help="the store that 'pytest --pyargs headwater.testing.conformance' tests; '{unique}' in it becomes "
        "a text of its own for each test, e.g. 'sqlite:////tmp/{unique}.db'",
    )
