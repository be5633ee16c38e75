"""Running a command: exit codes, refusals as one sentence, and progress that shows on a terminal only.

Exit codes: 0 done; 1 refused, failed, or verification found something; 2 wrong usage; 130 interrupted; 141 whoever
read the output has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import typer

from headwater.errors import HeadwaterError

__all__ = ["command", "on_interrupt", "progress", "say"]

INTERRUPTED = 130
READER_GONE = 141


def command(function: Callable[..., Any]) -> Callable[..., None]:
    """The function as a command: run to its end, its errors told in one sentence."""

    @functools.wraps(function)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            outcome = function(*arguments, **options)
            if inspect.iscoroutine(outcome):
                asyncio.run(outcome)
            sys.stdout.flush()
        except HeadwaterError as error:
            _end(1, str(error))
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered goes nowhere
            _end(READER_GONE)
        except KeyboardInterrupt:
            _end(INTERRUPTED, "interrupted")
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _end(1, f"{where}{error.strerror or error}")
        except Exception as error:
            if isinstance(error, typer.Exit | typer.Abort | typer.BadParameter) or os.environ.get(
                "HEADWATER_TRACEBACK"
            ):
                raise
            _end(1, f"this is a bug ({type(error).__name__}: {error}); set HEADWATER_TRACEBACK=1 to see where.")

    return run


def _end(code: int, sentence: str = "") -> None:
    if sentence:
        say("headwater: " + " ".join(sentence.split()))
    raise typer.Exit(code)


def on_interrupt(stop: Callable[[], None]) -> None:
    """Let Ctrl-C and SIGTERM call this instead of ending the command at once. Call it inside a running loop."""
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # on Windows: there Ctrl-C interrupts
            asyncio.get_running_loop().add_signal_handler(number, stop)


def say(text: str) -> None:
    """A line for the person at the terminal, apart from the command's output."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(task: str) -> Iterator[Callable[[int, int | None, str], None]]:
    """A bar on standard error, moved by calling ``(done, total, note)``; nothing shows where that is no terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total, note: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        shown = bar.add_task(task, total=None, note="")
        yield lambda done, total, note: bar.update(shown, completed=done, total=total, note=note)
