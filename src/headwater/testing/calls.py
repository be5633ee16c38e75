"""The world outside, for tests: whatever is called is written down."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import msgspec

from headwater.waiting import running_loop

__all__ = ["Call", "Calls", "calls"]


class Call(msgspec.Struct, frozen=True):
    """A call to the world outside."""

    name: str
    arguments: tuple[Any, ...]
    named: dict[str, Any]

    def __str__(self) -> str:
        given = [*map(repr, self.arguments), *(f"{name}={value!r}" for name, value in self.named.items())]
        return f"call {self.name}({', '.join(given)})"


def calls(name: str, *arguments: Any, **named: Any) -> Call:
    """What should be called: ``calls("post", "/letters", key=outcome.key)``."""
    return Call(name, arguments, named)


class Calls:
    """Stands for any client of a service: each of its methods writes down what it is called with.

    ``await client.post("/letters", key=…)`` in a coroutine; ``client.post(…)`` in a plain function.
    """

    def __init__(self) -> None:
        self.made: list[Call] = []
        self._answers: dict[str, Any] = {}
        self._after: Callable[[], None] = lambda: None

    def answer(self, name: str, value: Any) -> None:
        """What this method gives from now on, instead of None; an exception is raised instead."""
        self._answers[name] = value

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def called(*arguments: Any, **named: Any) -> Any:
            self.made.append(Call(name, arguments, named))
            self._after()
            value = self._answers.get(name)
            if isinstance(value, BaseException):
                raise value
            return value if running_loop() is None else _Answer(value)

        return called


class _Answer:
    """What a coroutine awaits."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, None, Any]:
        yield from ()
        return self._value
