"""Run every benchmark and write docs/performance.md from what they print. ``make bench`` calls it; it takes a while."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
SCRIPTS = (
    "sqlite_appends",
    "postgres_appends",
    "marten",
    "dynamodb",
    "kafka_appends",
    "server",
    "reading",
    "conditions",
    "subscriptions",
    "projections",
    "application",
    "growth",
    "lost_events",
    "peers",
)

INTRODUCTION = """# Performance

Written by `make bench`; every table is one run of a script in `bench/`, in which both sides take turns on the same disk
with the same payload, a real loan event of about 200 bytes of JSON. Figures of one machine say little elsewhere; the
ratios carry. Every commit is durable: SQLite with `synchronous=FULL`, PostgreSQL with `fsync` and `synchronous_commit`
on. *wanted* is what we hold ourselves to; where *kept* says no, the reason stands in [Why](#why).
"""

WHY = HERE / "why.md"


def ran(script: str) -> str:
    """What the script printed."""
    print(f"bench/{script}.py …", file=sys.stderr, flush=True)
    command = [sys.executable, "-W", "ignore", str(HERE / f"{script}.py")]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def machine() -> str:
    """What the figures were taken on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"Taken on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB, "
        f"{platform.system()}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"psycopg {version('psycopg')}."
    )


def main() -> None:
    chosen = sys.argv[1:] or SCRIPTS
    tables = [ran(script) for script in chosen]
    PAGE.write_text("\n\n".join([INTRODUCTION + "\n" + machine(), *tables, WHY.read_text().strip()]) + "\n")


if __name__ == "__main__":
    main()
