"""With ``ordering=async``: positions are given in the background, to many appends at a time."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from headwater.backends.dynamodb.sequencer import Sequencer
from headwater.errors import HeadwaterError

__all__ = ["Settling"]

PAUSE_SECONDS = 0.02
"""Appends of so long a time get their positions together."""


class Settling:
    """One task at a time, while there is something to do."""

    def __init__(self, sequencer: Sequencer) -> None:
        self._sequencer = sequencer
        self._task: asyncio.Task[None] | None = None
        self._more = False

    def begin(self) -> None:
        """Something was appended."""
        self._more = True
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._settle())

    async def _settle(self) -> None:
        try:
            while self._more:
                await asyncio.sleep(PAUSE_SECONDS)
                self._more = False
                with suppress(HeadwaterError):  # the service is away: readers, or the next append, will do it
                    await self._sequencer.settle()
        finally:
            self._task = None

    async def close(self) -> None:
        """Give positions to what is there, as far as the service lets us."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            with suppress(HeadwaterError):
                await self._sequencer.settle()
