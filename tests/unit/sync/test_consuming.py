"""Subscriptions, consumers, reactors and schedules for code without asyncio: threads, stops and interrupts."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

import headwater as hw
from headwater import sync
from headwater.subscriptions.partitions import part_of
from headwater.testing.loans import CASE, loan

ROOT = Path(__file__).parents[3]
FAST = hw.Retry(attempts=2, first=0.001, most=0.002)
LOANS = hw.Query([hw.QueryItem(categories=["loan"])])


def until(true: Callable[[], object], seconds: float = 20) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_subscribing(store: sync.EventStore) -> None:
    """First what is there, then what comes from another thread; whoever breaks off is done with it."""
    store.append(CASE, loan(3))
    later = threading.Timer(0.1, lambda: store.append(CASE, loan(3, skip=3)))
    later.start()
    seen = []
    for event in store.subscribe():
        assert isinstance(event, hw.Event)
        seen.append(event.version)
        if len(seen) == 6:
            break
    later.join()
    assert seen == [1, 2, 3, 4, 5, 6]
    query = hw.Query([hw.QueryItem(types=["A_ACCEPTED"])])
    with_marks = store.subscribe(query=query, marks=True)
    event, mark = next(with_marks), next(with_marks)
    assert isinstance(event, hw.Event)
    assert isinstance(mark, hw.CaughtUp)
    assert mark.position >= event.position
    with_marks.close()  # type: ignore[attr-defined]  # iterators of the store are generators
    with pytest.raises(hw.ForeignCheckpoint):
        next(store.subscribe(after=hw.Checkpoint("another", 1)))


def test_run_and_stop(store: sync.EventStore) -> None:
    """``run`` in this thread, ``stop`` from another one; the checkpoint is kept, and the next run goes on there."""
    store.append(CASE, loan(10))
    seen: list[int] = []
    consumer = store.consumer("billing", lambda event: seen.append(event.version))

    def stop() -> None:
        consumer.wait_for(store.head())
        consumer.stop()

    for count in (1, 2):
        stopper = threading.Thread(target=stop)
        stopper.start()
        consumer.run()
        stopper.join()
        assert consumer.position() == store.head()
        assert seen == list(range(1, 10 * count + 1))
        store.append(CASE, loan(10))
    assert store.consumers.info("billing").members == 0


def test_in_the_background(store: sync.EventStore) -> None:
    seen: list[int] = []
    with store.consumer("billing", lambda event: seen.append(event.version)) as consumer:
        for count in range(5):
            consumer.wait_for(store.append(CASE, loan(1)), timeout=10)
            assert seen == list(range(1, count + 2)), "whoever waited reads his own writes"
        with pytest.raises(hw.NotCaughtUp):
            consumer.wait_for(10**9, timeout=0.05)
    with consumer:
        until(lambda: consumer._consumer._member)
        with pytest.raises(hw.InvalidConsumer, match="runs already"):
            consumer.run()


def test_stopped_before_it_has_begun(store: sync.EventStore) -> None:
    for _ in range(20):
        with store.consumer("billing", lambda event: None):
            pass
    assert store.consumers.info("billing").members == 0


def test_batches_and_coroutine_functions(store: sync.EventStore) -> None:
    store.append(CASE, loan(10))
    batches: list[int] = []
    offers: list[str] = []

    async def offer(event: hw.Event) -> None:
        offers.append(event.type)

    with (
        store.consumer("batches", lambda events: batches.append(len(events)), batch=4) as first,
        store.consumer("offers", offer, query=hw.Query([hw.QueryItem(types=["O_SENT"])])) as second,
    ):
        first.wait_for(store.head())
        second.wait_for(store.head())
    assert sum(batches) == 10
    assert max(batches) <= 4
    assert offers == ["O_SENT"]


def test_a_handler_uses_the_store(store: sync.EventStore) -> None:
    """From its own thread, of which there are enough, whatever the machine: nobody waits for another in a circle."""
    parts = 40
    together = threading.Barrier(parts, timeout=20)
    for number in range(400):
        store.append(f"loan-{number}", loan(1))
    met: set[int] = set()

    def handler(event: hw.Event) -> None:
        assert event.stream is not None
        part = part_of(event.stream, parts)
        if part not in met:
            met.add(part)
            together.wait()  # all parts are in their handlers now
        assert next(store.read(event.stream)).id == event.id
        store.append(f"letters-{event.stream}", hw.NewEvent("LetterSent", {}, id=event.id.hex[::-1]))

    head = store.head()
    with store.consumer("letters", handler, query=LOANS, partitions=parts, retry=FAST) as consumer:
        consumer.wait_for(head)
    assert not together.broken, "too few handlers ran side by side"
    assert met == set(range(parts))
    assert store.categories() == {"letters": 400, "loan": 400}
    assert list(store.parked("letters").all()) == []
    assert store.audit("letters").well


def test_errors_of_run(store: sync.EventStore) -> None:
    def handler(event: hw.Event) -> None:
        raise ConnectionError("the ledger does not answer")

    store.append(CASE, loan(1))
    failing = store.consumer("billing", handler, on_failure="stop", retry=FAST)
    with pytest.raises(ConnectionError, match="ledger"):
        failing.run()
    with pytest.raises(ConnectionError, match="ledger"), failing:
        until(lambda: failing._failure)
    with pytest.raises(ConnectionError, match="ledger"), failing:
        failing.wait_for(store.head(), timeout=10)
    with pytest.raises(ZeroDivisionError), failing:
        raise ZeroDivisionError  # the caller's own error is the one to tell
    with pytest.raises(hw.InvalidConsumer, match="made with kind"):
        store.reactor("billing", lambda event, reaction: None).run()


def test_parked_events(store: sync.EventStore) -> None:
    answers = [ConnectionError("the ledger does not answer"), ConnectionError("the ledger does not answer"), None]
    seen: list[str] = []

    def handler(event: hw.Event) -> None:
        if event.type == "A_ACCEPTED" and (error := answers.pop(0)):
            raise error
        seen.append(event.type)

    store.append(CASE, loan(8))
    with store.consumer("billing", handler, retry=FAST, lease=0.3) as consumer:
        consumer.wait_for(store.head())
        (parked,) = store.parked("billing").all()
        assert (parked.type, parked.attempts) == ("A_ACCEPTED", 2)
        assert "the ledger does not answer" in parked.error
        assert store.consumers.info("billing").parked == 1
        assert store.parked("billing").replay(parked.position) == 1
        until(lambda: not list(store.parked("billing").all()))
        assert seen[-1] == "A_ACCEPTED"
    with pytest.raises(hw.InvalidConsumer, match="no parked event"):
        store.parked("billing").drop(1)
    assert store.parked("billing").drop() == 0
    assert store.audit("billing").parked == 0


def test_pause_resume_rewind(store: sync.EventStore) -> None:
    seen: list[int] = []
    store.append(CASE, loan(5))
    consumer = store.consumer("billing", lambda event: seen.append(event.version), lease=0.3)
    with consumer:
        consumer.wait_for(store.head())
        consumer.pause()
        assert store.consumers.info("billing").paused
        done = store.append(CASE, loan(1))
        with pytest.raises(hw.NotCaughtUp):
            consumer.wait_for(done, timeout=0.4)
        consumer.resume()
        consumer.wait_for(done)
        consumer.rewind(0)
        until(lambda: len(seen) == 12)
    assert seen == [1, 2, 3, 4, 5, 6] * 2
    assert [info.name for info in store.consumers.all()] == ["billing"]
    store.consumers.rewind("billing", done.position)
    store.consumers.pause("billing")
    store.consumers.resume("billing")
    store.consumers.drop("billing")
    assert store.consumers.all() == []
    with pytest.raises(hw.InvalidConsumer, match="does not exist"):
        store.audit("billing")


def test_a_reactor(store: sync.EventStore) -> None:
    """A plain function with a blocking reaction; it may use the store itself beside it."""
    keys: list[str] = []

    def handler(event: hw.Event, reaction: sync.Reaction) -> None:
        keys.append(reaction.key)
        reaction.append("letters-1", hw.NewEvent("LetterSent", {"about": event.type}))
        reaction.schedule(CASE, hw.NewEvent("O_CANCELLED", {}), due=timedelta(0))
        assert store.stream("letters-1") is not None
        if len(keys) == 1:
            raise ConnectionError("the post office does not answer")

    store.append(CASE, loan(2))
    head = store.head()
    with store.reactor("letters", handler, query=LOANS, retry=FAST) as reactor:
        reactor.wait_for(head)
    assert len(keys) == 3
    assert keys[0] == keys[1] != keys[2]
    assert [event.data["about"] for event in store.read("letters-1")] == ["A_SUBMITTED", "A_PARTLYSUBMITTED"]
    assert store.scheduled.append_due() == 2


def test_a_schedule(store: sync.EventStore) -> None:
    running = threading.Thread(target=store.scheduled.run)
    running.start()
    later = store.scheduled.add(CASE, hw.NewEvent("A_CANCELLED", {}), due=timedelta(days=30))
    store.scheduled.add(CASE, hw.NewEvent("O_CANCELLED", {}), due=timedelta(0))
    assert next(store.subscribe()).type == "O_CANCELLED"  # type: ignore[union-attr]  # no marks were asked for
    until(lambda: list(store.scheduled.all()) == [later])
    assert store.scheduled.cancel(later.id)
    store.scheduled.stop()
    running.join(10)
    assert not running.is_alive()


async def test_refused_in_a_loop(url: str) -> None:
    import asyncio

    store = await asyncio.to_thread(sync.connect, url)
    consumer = store.consumer("billing", lambda event: None)
    for call in (
        consumer.run,
        consumer.position,
        consumer.pause,
        store.consumers.all,
        store.scheduled.run,
        store.scheduled.append_due,
        lambda: next(store.subscribe()),
        lambda: list(store.parked("billing").all()),
        lambda: store.audit("billing"),
    ):
        with pytest.raises(hw.NotSupported, match=r"asyncio\.to_thread"):
            call()
    await asyncio.to_thread(store.close)


INTERRUPTED = """
import sys, time
import headwater as hw
from headwater import sync

url, what = sys.argv[1:]

def handler(event, reaction=None):
    print(event.position, flush=True)

with sync.connect(url) as store:
    rarely = hw.Every(events=1000, seconds=600)
    try:
        if what == "consumer":
            store.consumer("billing", handler, checkpoint=rarely).run()
        elif what == "reactor":
            store.reactor("billing", handler, checkpoint=rarely).run()
        elif what == "subscription":
            for event in store.subscribe():
                handler(event)
        else:
            store.scheduled.add("loan-1", hw.NewEvent("A_CANCELLED", {}), due=__import__("datetime").timedelta(days=1))
            print(26, flush=True)
            store.scheduled.run()
    except KeyboardInterrupt:
        store.append("loan-1", hw.NewEvent("Interrupted", {}))
        print("interrupted")
"""


@pytest.mark.parametrize("what", ["consumer", "reactor", "subscription", "schedule"])
def test_ctrl_c(url: str, what: str) -> None:
    """It ends ``run`` with ``KeyboardInterrupt``, whoever waits; what was handled is kept, and the store goes on."""
    with sync.connect(url) as store:
        store.append(CASE, loan())
        program = [sys.executable, "-c", INTERRUPTED, url, what]
        with subprocess.Popen(program, cwd=ROOT, stdout=-1, stderr=-1, text=True) as process:
            assert process.stdout is not None
            while int(process.stdout.readline()) < 26:
                pass
            time.sleep(0.2)  # it waits for more now
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            said, errors = process.communicate(timeout=30)
        assert (said, errors, process.returncode) == ("interrupted\n", "", 0)
        assert time.monotonic() - began < 5
        if what in ("consumer", "reactor"):
            info = store.consumers.info("billing")
            assert (info.position >= 26, info.members) == (True, 0)


def test_many_at_a_time(store: sync.EventStore) -> None:
    """Consumers in threads of their own beside appends from others: each gets everything."""
    seen: dict[str, list[int]] = {f"billing-{number}": [] for number in range(8)}
    consumers = [store.consumer(name, lambda event, to=to: to.append(event.position)) for name, to in seen.items()]
    with ThreadPoolExecutor(16) as threads:
        running = [threads.submit(consumer.run) for consumer in consumers]
        done = [threads.submit(store.append, f"loan-{number}", loan(5)) for number in range(40)]
        head = max(each.result().position for each in done)
        for consumer in consumers:
            consumer.wait_for(head)
            consumer.stop()
        for each in running:
            each.result(20)
    expected = [event.position for event in store.read_all()]
    assert all(positions == expected for positions in seen.values())


def test_from_now_on_means_from_the_with(store: sync.EventStore) -> None:
    for count in range(10):
        seen: list[int] = []
        with store.consumer(
            f"letters-{count}", lambda event, to=seen: to.append(event.position), start=hw.NOW
        ) as consumer:
            done = store.append(CASE, loan(1))
            consumer.wait_for(done)
        assert seen == [done.position]
    refused = store.consumer("refused", lambda event: None, start=hw.Checkpoint("another", 1))
    with pytest.raises(hw.ForeignCheckpoint), refused:
        pytest.fail("it was entered")


TERMINATED = """
import signal, sys, time
from headwater import sync

def handler(event):
    print(event.position, flush=True)
    time.sleep(0.3)
    print("handled", flush=True)

with sync.connect(sys.argv[1]) as store:
    consumer = store.consumer("billing", handler)
    signal.signal(signal.SIGTERM, lambda *_: consumer.stop())
    consumer.run()
    print("stopped")
"""


def test_stop_in_a_signal_handler(url: str) -> None:
    """What a service does at SIGTERM: the event in hand is handled to its end, and is not handled again."""
    with sync.connect(url) as store:
        places = [store.append(CASE, loan(1)).position for _ in range(5)]
        program = [sys.executable, "-c", TERMINATED, url]
        with subprocess.Popen(program, cwd=ROOT, stdout=-1, stderr=-1, text=True) as process:
            assert process.stdout is not None
            assert int(process.stdout.readline()) == places[0]
            process.send_signal(signal.SIGTERM)
            said, errors = process.communicate(timeout=30)
        assert (said, errors, process.returncode) == ("handled\nstopped\n", "", 0)
        assert store.consumers.info("billing").position == places[0]
