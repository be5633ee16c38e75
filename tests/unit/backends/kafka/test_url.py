"""What a URL of a store in Kafka may say."""

from __future__ import annotations

from pathlib import Path

import pytest

import headwater as hw

pytest.importorskip("confluent_kafka", reason="the extra 'kafka' is not installed")

from headwater.backends.kafka.url import parse


def test_everything_said() -> None:
    place = parse(
        "kafka://k1:9092,k2:9092/loans?index=/var/lib/loans.db&address=http://here:2113&takeover=yes&create=no"
        "&replication=3&security.protocol=SASL_SSL&sasl.password=p%26%3Ass"
    )
    assert (place.servers, place.name, place.index) == ("k1:9092,k2:9092", "loans", Path("/var/lib/loans.db"))
    assert (place.address, place.takeover, place.create, place.replication) == ("http://here:2113", True, False, 3)
    assert (place.events, place.beside) == ("loans.events", "loans.beside")
    assert place.settings(linger_ms=0)["sasl.password"] == "p&:ss"
    assert place.settings(linger_ms=0)["linger.ms"] == 0
    assert "p&:ss" not in f"{place!r} {place.shown}"


def test_little_said() -> None:
    place = parse("kafka://localhost/loans")
    assert (place.index, place.takeover, place.create, place.replication) == (None, False, True, -1)
    assert place.address


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("kafka:///loans", "names no brokers"),
        ("kafka://me:secret@k1/loans", "names no brokers"),
        ("kafka://k1", "beginning of a topic's name"),
        ("kafka://k1/a/b", "beginning of a topic's name"),
        ("kafka://k1/loans?indx=loans.db", "'indx' can't be set"),
        ("kafka://k1/loans?isolation.level=read_uncommitted", "'isolation.level' can't be set"),
        ("kafka://k1/loans?transactional.id=mine", "'transactional.id' can't be set"),
        ("kafka://k1/loans?partitions=4", "a store has one"),
        ("kafka://k1/loans?takeover=maybe", "takeover is 'maybe'"),
        ("kafka://k1/loans?create=maybe", "create is 'maybe'"),
        ("kafka://k1/loans?replication=0&sasl.password=secret", "replication is '0'"),
    ],
)
def test_refused(url: str, problem: str) -> None:
    with pytest.raises(hw.BadUrl, match=problem) as refused:
        parse(url)
    assert "secret" not in str(refused.value)
