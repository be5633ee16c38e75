"""The KurrentDB for tests that applications use: a fixture of the package's own."""

from __future__ import annotations

from kurrentdbclient import KurrentDBClient, NewEvent, StreamState


def test_it_is_empty_and_works(kurrentdb_url: str) -> None:
    with KurrentDBClient(kurrentdb_url) as client:
        assert list(client.read_all()) == []
        client.append_to_stream("loan-1", current_version=StreamState.NO_STREAM, events=NewEvent("A", data=b"{}"))
        assert len(client.get_stream("loan-1")) == 1


def test_each_test_has_its_own(kurrentdb_url: str) -> None:
    with KurrentDBClient(kurrentdb_url) as client:
        assert list(client.read_all()) == []
