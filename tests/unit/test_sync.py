"""The synchronous face: which thread and loop do the work, and what it refuses."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

import headwater as hw
from headwater import sync
from headwater.connect import BACKENDS
from headwater.reading import Reading
from headwater.testing.loans import CASE, loan
from tests.unit import looping


@pytest.fixture
def looping_url(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(BACKENDS, "looping", "tests.unit.looping:open")
    return "looping:"


@pytest.mark.parametrize("scheme", ["memory", "looping"])
def test_a_day_of_work(looping_url: str, scheme: str) -> None:
    with sync.connect(f"{scheme}:") as store:
        done = store.append(CASE, loan(26), expected=hw.NO_STREAM)
        assert done.version == 26
        assert [event.version for event in store.read(CASE, after=24)] == [25, 26]
        assert [event.position for event in store.read_all(after=25)] == [done.position]
        assert [info.name for info in store.streams()] == [CASE]
        store.snapshots.save(CASE, 26, {"status": "ACTIVATED"})
        snapshot = store.snapshots.load(CASE)
        assert snapshot is not None
        assert snapshot.state == {"status": "ACTIVATED"}
        assert store.checkpoints.save("offers", done.position) == store.checkpoints.load("offers")
        with pytest.raises(hw.WrongExpectedVersion):
            store.append(CASE, loan(1), expected=25)


@pytest.mark.parametrize("scheme", ["memory", "looping"])
async def test_inside_a_running_loop(looping_url: str, scheme: str) -> None:
    """A blocking call in a coroutine would stop everything else: refused, with what to do instead."""
    with pytest.raises(hw.NotSupported, match=r"[Aa]wait"):
        sync.connect(f"{scheme}:")
    store = await asyncio.to_thread(sync.connect, f"{scheme}:")
    for call in (
        lambda: store.append(CASE, loan(1)),
        store.head,
        lambda: list(store.read(CASE)),
        lambda: list(store.streams()),
        lambda: store.checkpoints.load("offers"),
        store.close,
    ):
        with pytest.raises(hw.NotSupported, match=r"asyncio\.to_thread"):
            call()
    await asyncio.to_thread(store.close)


def test_stepped_in_the_callers_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stepped backend works in the thread that calls, without a loop."""
    store = sync.connect("memory:")
    seen = []

    async def head() -> int:
        seen.append(threading.current_thread())
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return 7

    monkeypatch.setattr(store._store._backend, "head", head)
    assert store.head() == 7
    assert seen == [threading.current_thread()]


def test_blocking_connection(looping_url: str) -> None:
    """An appender over the caller's own blocking connection works in the caller's thread, not on the loop."""
    seen: list[object] = []
    with sync.connect(looping_url) as store:
        assert store.bind(seen).append(CASE, loan(3)).version == 3
    assert seen == [(threading.current_thread(), None)]
    with sync.connect("memory:") as store, pytest.raises(hw.NotSupported):
        store.bind(seen)


def test_one_loop_for_all(looping_url: str) -> None:
    """All stores of a process share one background loop, whichever thread opens them."""
    before = len(looping.opened)
    threads = [threading.Thread(target=lambda: sync.connect(looping_url).close()) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    backends = looping.opened[before:]
    assert len({id(backend.loop) for backend in backends}) == 1
    assert len(backends) == 8
    assert all(backend.closed for backend in backends)


def test_iterators_cross_by_page(looping_url: str) -> None:
    with sync.connect(looping_url, limits=hw.Limits(page_events_max=50)) as store:
        store.append(CASE, loan(200))
        backend = looping.opened[-1]
        backend.pages = 0
        events = store.read_all()
        assert backend.pages == 0
        assert next(events).version == 1
        assert backend.pages == 1
        assert len(list(events)) == 199
        assert backend.pages <= 5


@pytest.mark.parametrize("scheme", ["memory", "looping"])
@pytest.mark.parametrize("how", ["closed", "dropped", "failed"])
def test_stopping_early_closes_the_source(
    looping_url: str, monkeypatch: pytest.MonkeyPatch, scheme: str, how: str
) -> None:
    """Whoever stops reading, the pages behind are closed at once."""
    closed = []
    original = Reading.log_pages

    async def watched(self: Reading, *given: object) -> AsyncIterator[list[hw.Event]]:
        pages: AsyncGenerator[list[hw.Event], None] = original(self, *given)  # type: ignore[arg-type]  # handed through
        try:
            async for page in pages:
                yield page
        finally:
            closed.append(True)
            await pages.aclose()

    monkeypatch.setattr(Reading, "log_pages", watched)
    with sync.connect(f"{scheme}:") as store:
        store.append(CASE, loan(10))
        events = store.read_all()
        next(events)
        assert not closed
        if how == "closed":
            events.close()  # type: ignore[attr-defined]  # iterators of the store are generators
        elif how == "dropped":
            del events
            gc.collect()
        else:
            with pytest.raises(GeneratorExit):
                events.throw(GeneratorExit)  # type: ignore[attr-defined]
        assert closed == [True]


def test_fork() -> None:
    """After a fork the child opens stores of its own, on its own loop; the parent's are refused with the remedy."""
    program = """
import os
from headwater import NewEvent, StoreUnavailable, sync
from headwater.connect import BACKENDS

BACKENDS["looping"] = "tests.unit.looping:open"
parents = [sync.connect("looping:"), sync.connect("memory:")]
for store in parents:
    store.append("loan-1", NewEvent("A_SUBMITTED", {}))
pid = os.fork()
if not pid:
    for store in parents:
        try:
            store.head()
        except StoreUnavailable as refused:
            assert "fork" in str(refused) and not refused.transient
        else:
            os._exit(3)
    with sync.connect("looping:") as own:
        own.append("loan-1", NewEvent("A_SUBMITTED", {}))
        os._exit(0 if len(list(own.read_all())) == 1 else 4)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
assert len(list(parents[0].read_all())) == 1
for store in parents:
    store.close()
raise SystemExit(code)
"""
    root = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_interrupted_wait_gives_up_the_call(looping_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a call waits for the background loop cancels that call."""
    cancelled = threading.Event()
    started = threading.Event()
    with sync.connect(looping_url) as store:

        async def never(*_: object) -> int:
            started.set()
            try:
                return await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        class Interrupted:
            """A future whose waiting is interrupted once the call is under way."""

            def __init__(self, future: object) -> None:
                self.future = future

            def result(self) -> int:
                assert started.wait(30)
                raise KeyboardInterrupt

            def cancel(self) -> None:
                self.future.cancel()  # type: ignore[attr-defined]

        monkeypatch.setattr(looping.opened[-1], "head", never)
        with monkeypatch.context() as patched:
            original = asyncio.run_coroutine_threadsafe
            patched.setattr(asyncio, "run_coroutine_threadsafe", lambda *given: Interrupted(original(*given)))
            with pytest.raises(KeyboardInterrupt):
                store.head()
        assert cancelled.wait(30)
