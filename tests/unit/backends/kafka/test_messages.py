"""Events as messages: CloudEvents that anybody reads, and nothing is lost on the way there and back."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("confluent_kafka", reason="the extra 'kafka' is not installed")

from headwater.backends.kafka.messages import event_of, headers_of, key_of, position_of, split_key
from headwater.events import Event

MOMENTS = st.integers(-(2**50), 2**52)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=50)

events = st.builds(
    Event,
    st.integers(1, 2**63 - 1),
    st.none() | NAMES,
    st.integers(0, 2**63 - 1),
    st.binary(min_size=16, max_size=16),
    NAMES,
    st.binary(max_size=200),
    st.binary(max_size=200),
    st.lists(NAMES, max_size=5).map(tuple),
    st.sampled_from(["application/json", "application/octet-stream", "text/plain; charset=utf-8"]),
    MOMENTS,
    st.none() | MOMENTS,
)


@given(events)
def test_there_and_back(event: Event) -> None:
    headers = headers_of(event, "b7f4c3a0")
    received = [(name, value) for name, value in headers if isinstance(value, bytes)]
    assert len(received) == len(headers)
    key = None if event.stream is None else event.stream.encode()
    assert event_of(key, event.raw_data, received) == event
    assert position_of(received) == event.position


def test_as_a_cloud_event() -> None:
    id = uuid.uuid4()
    moment, tags = 1_317_422_324_546_000, ("applicant:112",)
    event = Event(7, "loan-173688", 3, id.bytes, "A_APPROVED", b"{}", b"", tags, "application/json", moment, None)
    assert dict(headers_of(event, "b7f4c3a0"))["headwater"]
    assert {name: value for name, value in headers_of(event, "b7f4c3a0") if name != "headwater"} == {
        "ce_specversion": b"1.0",
        "ce_id": str(id).encode(),
        "ce_source": b"urn:headwater:b7f4c3a0",
        "ce_type": b"A_APPROVED",
        "ce_time": b"2011-09-30T22:38:44.546000+00:00",
        "ce_subject": b"loan-173688",
        "content-type": b"application/json",
    }


@given(st.sampled_from(["stream", "record"]), st.text(max_size=50))
def test_keys(kind: str, name: str) -> None:
    try:
        key = key_of(kind, name)
    except UnicodeEncodeError:  # half of a surrogate pair: no name may have one
        return
    assert split_key(key) == (kind, name)
