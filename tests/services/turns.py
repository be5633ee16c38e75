"""Set-up that several test processes may want at the same time, made by one of them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["CACHE", "in_turn"]

CACHE = Path(__file__).parents[2] / ".cache"
"""What tests keep for the next run: servers, jars, packages."""


@contextmanager
def in_turn(what: str) -> Iterator[None]:
    """Waits while another process holds this, whatever becomes of that one."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{what}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
