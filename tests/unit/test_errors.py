"""Errors carry their facts, say what to do, and cross processes."""

from __future__ import annotations

import copy
import pickle

import pytest

import headwater as hw
from headwater import errors

CONDITION = hw.AppendCondition(hw.Query.all(), 7)

SAMPLES: list[tuple[hw.HeadwaterError, list[str]]] = [
    (hw.WrongExpectedVersion("loan-1", 3, 5), ["'loan-1'", "version 5", "3", "Read the stream again"]),
    (hw.WrongExpectedVersion("loan-1", hw.STREAM_EXISTS, 0), ["does not exist", "STREAM_EXISTS"]),
    (hw.AppendConditionFailed(CONDITION, 9), ["after position 7", "at position 9", "Read the query again"]),
    (hw.AppendConditionFailed(CONDITION), ["after position 7"]),
    (hw.DuplicateEvent(["a", "b", "c", "d"], "stored already"), ["stored already: a, b, c …", "use a new id"]),
    (hw.StreamDeleted("loan-1"), ["tombstoned", "another stream name"]),
    (hw.InvalidEvent("the type is empty", "Give a text."), ["the type is empty. Give a text."]),
    (hw.InvalidQuery("no items", "Give one."), ["no items. Give one."]),
    (hw.TooLarge("the event", 2_000_000, "event_bytes_max", 1_048_576), ["2,000,000", "1,048,576", "Limits("]),
    (hw.StoreUnavailable("disk full", "Free some room."), ["disk full. Free some room."]),
    (hw.NotOwner("loans", "http://one:2113", 7.4), ["loans is owned by http://one:2113", "for 7 s"]),
    (hw.OutcomeUnknown(["a", "b"], "the connection broke"), ["2 event(s)", "Append the same events"]),
    (hw.NotSupported("memory", "forks", "Use a file."), ["memory does not support forks. Use a file."]),
    (hw.CorruptStore("loans.db", "version 3 is missing", "Restore it."), ["loans.db: version 3 is missing"]),
    (hw.ForeignCheckpoint("s@7", "t"), ["s@7", "was not taken in this store (t)"]),
    (hw.ForeignCheckpoint("t@7", "t", 3), ["ahead of this store, whose head is 3"]),
    (hw.InvalidConsumer("billing", "has 0 partitions", "Give 1."), ["consumer 'billing' has 0 partitions. Give 1."]),
    (hw.MissingKey("112", "01a2"), ["key 01a2 of subject '112'", "with the vault that"]),
    (hw.StaleRecord("consumers/billing/about"), ["'consumers/billing/about'", "Load it again"]),
    (hw.Fenced("billing", 3), ["part 3 of consumer 'billing'", "will be handled again"]),
    (hw.NotCaughtUp("consumer 'billing'", 9, 7, 1.5), ["position 7 of 9 in 1.5 s", "headwater consumers list"]),
    (hw.BadUrl("loans.db", "no scheme", "Write sqlite:///loans.db."), ["'loans.db': no scheme. Write"]),
]


def _id(sample: object) -> str:
    return type(sample).__name__ if isinstance(sample, Exception) else ""


def test_every_error_has_a_sample() -> None:
    concrete = {getattr(errors, name) for name in errors.__all__} - {hw.HeadwaterError, hw.AppendRefused}
    assert {type(error) for error, _ in SAMPLES} == concrete


@pytest.mark.parametrize(("error", "parts"), SAMPLES, ids=_id)
def test_sentences(error: hw.HeadwaterError, parts: list[str]) -> None:
    for part in parts:
        assert part in str(error)
    assert str(error).endswith((".", ".)", "…)."))


@pytest.mark.parametrize(("error", "parts"), SAMPLES, ids=_id)
@pytest.mark.parametrize("over", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_errors_cross_processes(error: hw.HeadwaterError, parts: list[str], over: object) -> None:
    """An error that was pickled has the same type, sentence and facts."""
    other = over(error)  # type: ignore[operator]  # one of three functions
    assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


def test_family() -> None:
    refused = {hw.WrongExpectedVersion, hw.AppendConditionFailed, hw.DuplicateEvent, hw.StreamDeleted}
    assert all(issubclass(kind, hw.AppendRefused) for kind in refused)
    assert all(issubclass(getattr(errors, name), hw.HeadwaterError) for name in errors.__all__)
    assert issubclass(hw.TooLarge, hw.InvalidEvent)
    assert issubclass(hw.InvalidEvent, ValueError)


def test_long_names_are_cut() -> None:
    assert len(str(hw.StreamDeleted("x" * 10_000))) < 300
