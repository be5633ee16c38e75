"""Processes that die, for tests: in the middle of a handler, right after something that lasts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from headwater.testing.reacting import GivenStore

__all__ = ["Died", "Mortal"]


class Died(BaseException):
    """The process is dead: no handler of errors sees this."""


class Mortal:
    """What handlers do to a store and to the world outside counts as steps; after one of them, they die."""

    def __init__(self, given: GivenStore) -> None:
        backend: Any = given.store._backend
        backend.append = self._counted(backend.append)
        backend.save_records = self._counted(backend.save_records)
        given.calls._after = self._step
        self.steps_left: int | None = None
        """None: for ever."""

    def _counted(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*arguments: Any) -> Any:
            result = await method(*arguments)
            self._step()
            return result

        return counted

    def _step(self) -> None:
        if self.steps_left is None:
            return
        self.steps_left -= 1
        if self.steps_left == 0:
            self.steps_left = None
            raise Died
