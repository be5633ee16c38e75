"""Durable consumers, parked events and scheduled appends for code without asyncio."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from headwater import subscriptions as asynchronous
from headwater.backend import Appended, Checkpoint
from headwater.events import NewEvent
from headwater.subscriptions import ConsumerInfo, Parked, Scheduled
from headwater.sync.driving import Caller

__all__ = ["Consumer", "Consumers", "ParkedEvents", "ScheduledEvents"]


class Consumer:
    """``headwater.Consumer`` without ``await``. Made by ``store.consumer(name, handler)`` or ``store.reactor``.

    ``consumer.run()`` handles events in this thread until another one calls ``stop()`` or Ctrl-C interrupts it; or
    ``with consumer:`` does so in a thread of its own. The handler may be a plain function, which runs in a thread
    beside it, or a coroutine function. All methods may be called from any thread.
    """

    def __init__(self, consumer: asynchronous.Consumer, caller: Caller) -> None:
        self.name = consumer.name
        self._consumer = consumer
        self._caller = caller
        self._thread: threading.Thread | None = None
        self._begun = threading.Event()
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Handle events until ``stop`` is called or Ctrl-C interrupts; then keep the last checkpoint.

        Errors as ``headwater.Consumer.run``.
        """
        self._caller.run_in_loop(self._consumer.run())

    def stop(self) -> None:
        """Let ``run`` end, once what is being handled is handled. Call it from another thread, or a signal handler."""
        self._consumer.stop()

    def pause(self) -> None:
        """Handle nothing, in any process, until ``resume``. Here at once, elsewhere within a quarter of a lease."""
        self._caller.run(self._consumer.pause())

    def resume(self) -> None:
        """Go on after ``pause``."""
        self._caller.run(self._consumer.resume())

    def rewind(self, position: int | Checkpoint) -> None:
        """Go on behind this position, backwards or forwards, in every process. As ``headwater.Consumer.rewind``."""
        self._caller.run(self._consumer.rewind(position))

    def position(self) -> int:
        """The position up to which everything is handled, in all parts; in this process's parts, as of now."""
        return self._caller.run(self._consumer.position())

    def wait_for(self, position: int | Appended | Checkpoint, timeout: float = 30.0) -> None:
        """Wait until everything up to this position is handled. ``NotCaughtUp`` after ``timeout`` seconds."""
        self._caller.run(self._consumer.wait_for(position, timeout))

    def __enter__(self) -> Self:
        self._caller.run(self._consumer._prepare())  # as in the asynchronous one
        self._begun.clear()
        self._failure = None
        self._thread = threading.Thread(target=self._run_in_background, name=f"headwater consumer {self.name}")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._thread is not None
        thread, self._thread = self._thread, None
        self._begun.wait()  # a stop before that would be forgotten
        self.stop()
        thread.join()
        if self._failure is not None and kind is None:
            raise self._failure

    def _run_in_background(self) -> None:
        try:
            self._caller.run_in_loop(self._run_and_say_so())
        except BaseException as failure:
            self._failure = failure
        finally:
            self._begun.set()

    async def _run_and_say_so(self) -> None:
        running = asyncio.create_task(self._consumer.run())
        await asyncio.sleep(0)
        self._begun.set()
        await running


class Consumers:
    """The consumers of one store. From ``store.consumers``."""

    def __init__(self, consumers: asynchronous.Consumers, caller: Caller) -> None:
        self._consumers = consumers
        self._caller = caller

    def all(self) -> list[ConsumerInfo]:
        """Every consumer by name."""
        return self._caller.run(self._consumers.all())

    def info(self, name: str) -> ConsumerInfo:
        """What is known of one. ``InvalidConsumer`` where there is none of this name."""
        return self._caller.run(self._consumers.info(name))

    def pause(self, name: str) -> None:
        """Let no member handle anything until ``resume``."""
        self._caller.run(self._consumers.pause(name))

    def resume(self, name: str) -> None:
        """Go on after ``pause``."""
        self._caller.run(self._consumers.resume(name))

    def rewind(self, name: str, position: int) -> None:
        """Let every part go on behind this position. As ``headwater.Consumers.rewind``."""
        self._caller.run(self._consumers.rewind(name, position))

    def drop(self, name: str) -> None:
        """Forget the consumer and its parked events. Members that still run it end with ``InvalidConsumer``."""
        self._caller.run(self._consumers.drop(name))


class ParkedEvents:
    """The events that one consumer has put aside. From ``store.parked(name)``."""

    def __init__(self, parked: asynchronous.ParkedEvents, caller: Caller) -> None:
        self._parked = parked
        self._caller = caller

    def all(self) -> Iterator[Parked]:
        """The parked events in order of position."""
        return self._caller.each(self._parked._pages())

    def replay(self, position: int | None = None) -> int:
        """Ask for a parked event (None: all) to be tried again. As ``headwater.ParkedEvents.replay``."""
        return self._caller.run(self._parked.replay(position))

    def drop(self, position: int | None = None) -> int:
        """Forget the parked event at this position (None: all of them): it is never handled. How many there were."""
        return self._caller.run(self._parked.drop(position))


class ScheduledEvents:
    """Appends for later, kept in the store. From ``store.scheduled``."""

    def __init__(self, scheduled: asynchronous.ScheduledEvents, caller: Caller) -> None:
        self._scheduled = scheduled
        self._caller = caller

    def add(self, stream: str | None, events: Sequence[NewEvent] | NewEvent, *, due: datetime | timedelta) -> Scheduled:
        """Append these events at a moment, or after some time from now. As ``headwater.ScheduledEvents.add``."""
        return self._caller.run(self._scheduled.add(stream, events, due=due))

    def all(self) -> Iterator[Scheduled]:
        """What is scheduled, in order of time; then what was refused when it was due."""
        return self._caller.each(self._scheduled._pages())

    def cancel(self, id: uuid.UUID | str) -> bool:
        """Forget what is scheduled under this id. False where there is no such thing, or a runner has begun with it."""
        return self._caller.run(self._scheduled.cancel(id))

    def append_due(self) -> int:
        """Append what is due by now, in order of time; how many appends were made."""
        return self._caller.run(self._scheduled.append_due())

    def run(self) -> None:
        """Append what is due when it is due, until ``stop`` from another thread, or Ctrl-C."""
        self._caller.run_in_loop(self._scheduled.run())

    def stop(self) -> None:
        """Let every ``run`` of this object end, after the appends that it has begun with."""
        self._scheduled.stop()
