"""A process that counts in records, to be killed: ``python -m headwater.testing.counting URL``.

It raises the same number in two records at once, by compare-and-swap, until it is killed. Each line on standard output
is a number that was acknowledged.
"""

from __future__ import annotations

import asyncio
import sys

import headwater
from headwater.backend import RecordChange

__all__ = ["NAMES", "main"]

NAMES = ("consumers/billing/parts/00000", "consumers/billing/parts/00001")


async def _count(url: str) -> None:
    async with headwater.connect(url) as store:
        records = await store._backend.load_records("consumers/billing/parts/")
        revisions = [record.revision for record in records] or [0, 0]
        number = int(records[0].value) if records else 0
        while True:
            number += 1
            changes = zip(NAMES, revisions, strict=True)
            revisions = await store._backend.save_records(
                [RecordChange(name, b"%d" % number, revision) for name, revision in changes]
            )
            print(number, flush=True)


def main() -> None:
    """Count in the records of the store that the command line names."""
    asyncio.run(_count(sys.argv[1]))


if __name__ == "__main__":
    main()
