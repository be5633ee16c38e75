"""The transaction of an append, looked at before it is sent."""

from __future__ import annotations

import pytest

from headwater.backend import Write
from headwater.backends.dynamodb.bodies import Batch, decoded, prepared
from headwater.backends.dynamodb.drafts import STREAMS_MAX, Draft, drafted, marked, positioned, staging_of
from headwater.backends.dynamodb.heads import UNWRITTEN, Head
from headwater.backends.dynamodb.requests import ACTIONS_MAX, Requests
from headwater.codecs import encode_event
from headwater.errors import TooLarge
from headwater.events import NewEvent
from headwater.limits import Limits
from headwater.testing.loans import CASE, loan

LOANS = Requests("loans")


def _batch(*sizes: int, data: bytes = b"{}") -> Batch:
    limits = Limits()
    writes = []
    for number, size in enumerate(sizes):
        events = [NewEvent("Noted", data, content_type="image/tiff") for _ in range(size)]
        writes.append(Write(f"loan-{number}", tuple(encode_event(event, limits) for event in events)))
    return prepared(writes)


def _draft(batch: Batch, position: int | None = 40, head: Head = UNWRITTEN) -> Draft:
    heads = {piece.write.stream: head for piece in batch.pieces if piece.write.stream is not None}
    return drafted(LOANS, batch, staging_of(batch), heads, recorded_us=1, position=position, shards=4)


def _kinds(draft: Draft) -> list[str]:
    return [label.kind for label in draft.labels]


def test_small_append_to_a_new_stream() -> None:
    """Head, list, commit, ids; and, taking positions by itself, the last position and a page of the log."""
    draft = _draft(_batch(2))
    positioned(LOANS, draft, 40)
    assert _kinds(draft) == ["head", "listed", "commit", "id", "id", "global", "page"]
    last = draft.actions[-2]["Update"]["ExpressionAttributeValues"]
    assert last == {":0": {"N": "42"}, ":1": {"N": "40"}}
    assert draft.actions[-1]["Put"]["Item"]["k"]["S"] == f"{41:019d}"


def test_commit_names_the_version_that_was_checked() -> None:
    """The head is moved from the version that the draft was made on: a gap or an overlap can't be written."""
    draft = _draft(_batch(3), head=Head(7, 7, exists=True))
    assert _kinds(draft)[:2] == ["head", "commit"]
    update = draft.actions[0]["Update"]
    assert update["ConditionExpression"] == "#v = :4 AND #st = :5"
    assert (update["ExpressionAttributeValues"][":0"], update["ExpressionAttributeValues"][":4"]) == (
        {"N": "10"},
        {"N": "7"},
    )
    assert draft.actions[1]["Put"]["Item"]["k"]["S"] == f"E#{8:019d}"


def test_append_without_a_position() -> None:
    """Through the outbox: no position is written anywhere, and a marker is."""
    batch = _batch(1)
    draft = _draft(batch, position=None)
    marked(LOANS, draft, batch, 1, 4)
    assert _kinds(draft) == ["head", "listed", "commit", "id", "marker"]
    assert not any("g" in action["Put"]["Item"] for action in draft.actions)


@pytest.mark.parametrize(
    ("sizes", "data", "pieces", "ids"),
    [
        ((94,), b"x", set(), False),
        ((95,), b"x", {0}, True),
        ((1,), b"x" * 100_000, set(), False),
        ((1, 1), bytes(1_000_000), set(), False),  # zeros: packed, they are small
        ((3, 1), b"x" * 150_000, {0}, False),
    ],
)
def test_what_is_staged(sizes: tuple[int, ...], data: bytes, pieces: set[int], ids: bool) -> None:
    """What would not fit into one transaction is written before it: by number of events, and by bytes."""
    batch = _batch(*sizes, data=data)
    staging = staging_of(batch)
    assert staging.ids == ids
    assert pieces == set() or pieces == set(staging.pieces) or ids
    draft = _draft(batch)
    positioned(LOANS, draft, 40)
    assert len(draft.actions) <= ACTIONS_MAX
    assert ("status" in _kinds(draft)) == staging.any


def test_too_many_streams() -> None:
    """More streams than one transaction takes are refused, with what to do."""
    assert not staging_of(_batch(*[1] * 20)).pieces
    with pytest.raises(TooLarge, match="fewer streams") as refused:
        staging_of(_batch(*[1] * (STREAMS_MAX + 1)))
    assert (refused.value.size, refused.value.most) == (STREAMS_MAX + 1, STREAMS_MAX)


def test_events_come_back_from_parts() -> None:
    """Each part is decoded by itself, with the places of its events."""
    records = tuple(encode_event(event, Limits()) for event in loan(26))
    (piece,) = prepared([Write(CASE, records)]).pieces
    assert [part.count for part in piece.parts] == [26]
    events = decoded(piece.parts[0].body, 100, CASE, 5, 7, slice(20, 26))
    assert [event.raw_id for event in events] == [record.id for record in records[20:]]
    assert (events[5].position, events[5].version, events[5].recorded_us) == (125, 30, 7)
