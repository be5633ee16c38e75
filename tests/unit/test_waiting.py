"""Waiting with and without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest

from headwater.waiting import Reply, Signal, call, settle, sleep, step


async def _awaited(reply: Reply[int]) -> int:
    return await reply


def _from_another_thread(reply: Reply[int], value: int | None, error: Exception | None = None) -> threading.Thread:
    def answer() -> None:
        reply.answer(value, error)
        settle([reply])

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_reply_blocks_a_thread() -> None:
    reply: Reply[int] = Reply()
    thread = _from_another_thread(reply, 7)
    assert step(_awaited(reply)) == 7
    thread.join()


async def test_reply_suspends_a_task() -> None:
    reply: Reply[int] = Reply()
    thread = _from_another_thread(reply, 7)
    assert await reply == 7
    thread.join()


def test_reply_with_an_error() -> None:
    reply: Reply[int] = Reply()
    _from_another_thread(reply, None, ValueError("no")).join()
    with pytest.raises(ValueError, match="no"):
        step(_awaited(reply))


async def test_reply_given_before_it_is_awaited() -> None:
    reply: Reply[int] = Reply()
    _from_another_thread(reply, 7).join()
    assert await reply == 7


def test_settle_survives_a_closed_loop() -> None:
    """A loop that was closed while its appends were in flight keeps nobody else from being answered."""

    async def orphan() -> Reply[int]:
        return Reply()

    orphaned, waiting = asyncio.run(orphan()), Reply[int]()
    for reply in (orphaned, waiting):
        reply.answer(7)
    settle([orphaned, waiting])
    assert step(_awaited(waiting)) == 7


async def test_settle_forgives_a_cancelled_waiter() -> None:
    reply: Reply[int] = Reply()
    task = asyncio.create_task(_awaited(reply))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    reply.answer(7)
    settle([reply])
    await asyncio.sleep(0)


def test_call_without_a_loop_stays_in_the_thread() -> None:
    with ThreadPoolExecutor(1) as executor:
        assert step(call(executor, threading.current_thread)) is threading.current_thread()


async def test_call_with_a_loop_goes_to_the_executor() -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="elsewhere") as executor:
        assert (await call(executor, threading.current_thread)).name.startswith("elsewhere")


def test_step_refuses_a_coroutine_that_suspends() -> None:
    """A backend that says it is stepped and waits otherwise is told so, and its coroutine is closed."""
    closed = []

    class Suspending:
        def __await__(self) -> Generator[None, None, None]:
            yield

    async def suspending() -> None:
        try:
            await Suspending()
        finally:
            closed.append(True)

    with pytest.raises(RuntimeError, match=r"headwater\.waiting"):
        step(suspending())
    assert closed == [True]


def test_step_hands_errors_on() -> None:
    async def failing() -> None:
        raise KeyError("loan-1")

    with pytest.raises(KeyError):
        step(failing())


def test_sleep_without_a_loop() -> None:
    step(sleep(0))


async def test_sleep_with_a_loop() -> None:
    await sleep(0)


async def test_signal_wakes_every_waiter() -> None:
    signal = Signal()
    news = [signal.subscribe() for _ in range(3)]
    threading.Thread(target=signal.notify).start()
    assert await asyncio.gather(*(signal.wait(each, 30.0) for each in news)) == [True, True, True]


async def test_signal_before_waiting_is_not_lost() -> None:
    signal = Signal()
    news = signal.subscribe()
    signal.notify()
    assert await signal.wait(news, 30.0) is True


async def test_signal_times_out() -> None:
    signal = Signal()
    assert await signal.wait(signal.subscribe(), 0.0) is False
    assert not signal._waiters


def test_signal_without_a_loop() -> None:
    signal = Signal()
    news = signal.subscribe()
    threading.Thread(target=signal.notify).start()
    assert step(signal.wait(news, 30.0)) is True
    assert step(signal.wait(signal.subscribe(), 0.0)) is False
    assert not signal._waiters


def test_cancelled_subscription() -> None:
    signal = Signal()
    news = signal.subscribe()
    signal.cancel(news)
    signal.cancel(news)
    signal.notify()
    assert not signal._waiters
