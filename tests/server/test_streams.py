"""Appending and reading with the Python client: what its documentation shows, and the corners of expected versions."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from kurrentdbclient import KurrentDBClient, NewEvent, StreamState
from kurrentdbclient.exceptions import (
    DeadlineExceededError,
    KurrentDBClientError,
    NotFoundError,
    StreamIsDeletedError,
    WrongCurrentVersionError,
)

from tests.server.conftest import events

NONE, ANY, EXISTS = StreamState.NO_STREAM, StreamState.ANY, StreamState.EXISTS


class TestAppend:
    def test_one_event_and_several(self, client: KurrentDBClient, stream: str) -> None:
        first = client.append_to_stream(stream, current_version=NONE, events=events("A")[0])
        last = client.append_to_stream(stream, current_version=0, events=events("B", "C"))
        read = client.get_stream(stream)
        assert [(each.type, each.stream_position) for each in read] == [("A", 0), ("B", 1), ("C", 2)]
        assert (read[0].commit_position, read[2].commit_position) == (first, last)
        assert client.get_current_version(stream) == 2

    @pytest.mark.parametrize("many", [False, True], ids=["Append", "BatchAppend"])
    def test_wrong_versions(self, client: KurrentDBClient, stream: str, many: bool) -> None:
        def append(version: int | StreamState) -> None:
            given = events("A")
            client.append_to_stream(stream, current_version=version, events=given if many else given[0])

        for expected in (0, 1, EXISTS):
            with pytest.raises(WrongCurrentVersionError) as wrong:
                append(expected)
            assert wrong.value.actual_version == NONE
        append(NONE)
        for expected in (NONE, 1):
            with pytest.raises(WrongCurrentVersionError) as wrong:
                append(expected)
            assert wrong.value.actual_version == 0
        append(EXISTS)
        append(1)
        append(ANY)
        assert client.get_current_version(stream) == 3

    def test_the_same_events_again_are_a_retry(self, client: KurrentDBClient, stream: str) -> None:
        given = events("A", "B")
        first = client.append_to_stream(stream, current_version=NONE, events=given)
        client.append_to_stream(stream, current_version=1, events=events("C"))
        for expected in (NONE, ANY, EXISTS, 0):
            assert client.append_to_stream(stream, current_version=expected, events=given) == first
        assert client.get_current_version(stream) == 2

    def test_a_part_of_a_retry_is_a_conflict(self, client: KurrentDBClient, stream: str) -> None:
        given = events("A")
        client.append_to_stream(stream, current_version=NONE, events=given)
        with pytest.raises(WrongCurrentVersionError):
            client.append_to_stream(stream, current_version=NONE, events=[*given, *events("B")])
        assert client.get_current_version(stream) == 0

    def test_one_id_in_two_streams(self, client: KurrentDBClient, stream: str) -> None:
        given = events("A", "B")
        for name in (stream, f"{stream}-other", f"{stream}-other", stream):
            client.append_to_stream(name, current_version=ANY, events=given)
        for name in (stream, f"{stream}-other"):
            assert [each.id for each in client.get_stream(name)] == [each.id for each in given]

    def test_of_two_writers_one_wins(self, client: KurrentDBClient, stream: str) -> None:
        def append(number: int) -> bool:
            try:
                client.append_to_stream(stream, current_version=NONE, events=events("A"))
            except WrongCurrentVersionError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(append, range(32))) == 1

    @pytest.mark.parametrize(
        ("data", "metadata", "content_type"),
        [
            (b'{"a": 1.50, "b": [true, null]}', b'{"user": "joe"}', "application/json"),
            (b"", b"", "application/json"),
            (b"\xff\x00 no JSON", b"\xfe no JSON either", "application/json"),
            (b"[1,2]", b'["no", "object"]', "application/json"),
            (b"{}", b"{}", "application/json"),
            (b"\x00\x01", b"", "application/octet-stream"),
            (b'{"deep":1}', b'{"$kurrentdb":{"id":"x"}}', "application/json"),
        ],
    )
    def test_bytes_come_back_as_they_were(
        self, client: KurrentDBClient, stream: str, data: bytes, metadata: bytes, content_type: str
    ) -> None:
        given = NewEvent("A", data=data, metadata=metadata, content_type=content_type)  # type: ignore[arg-type]
        client.append_to_stream(stream, current_version=NONE, events=[given])
        (read,) = client.get_stream(stream)
        assert (read.data, read.metadata, read.content_type, read.id) == (data, metadata, content_type, given.id)
        assert read.recorded_at is not None

    def test_names_and_types_in_any_script(self, client: KurrentDBClient, stream: str) -> None:
        name = f"{stream}-Ünïcode-借款"
        client.append_to_stream(name, current_version=NONE, events=events("Übergeben"))
        assert client.get_stream(name)[0].type == "Übergeben"

    def test_a_deadline_that_is_over(self, client: KurrentDBClient, stream: str) -> None:
        with pytest.raises(DeadlineExceededError):
            client.append_to_stream(stream, current_version=NONE, events=events("A"), timeout=0)
        with pytest.raises(NotFoundError):
            client.get_stream(stream)

    def test_too_large(self, client: KurrentDBClient, stream: str) -> None:
        large = NewEvent("A", data=b"x" * 5_000_000, content_type="application/octet-stream")
        for given in (large, [large]):
            with pytest.raises(KurrentDBClientError, match=r"over the limit|Max size"):
                client.append_to_stream(stream, current_version=NONE, events=given)
        with pytest.raises(NotFoundError):
            client.get_stream(stream)


class TestRead:
    def test_directions_positions_and_limits(self, client: KurrentDBClient, stream: str) -> None:
        client.append_to_stream(stream, current_version=NONE, events=events(*"ABCDE"))

        def types(**how: object) -> str:
            return "".join(each.type for each in client.get_stream(stream, **how))  # type: ignore[arg-type]

        assert types() == "ABCDE"
        assert types(backwards=True) == "EDCBA"
        assert types(stream_position=2) == "CDE"
        assert types(stream_position=2, backwards=True) == "CBA"
        assert types(stream_position=1, limit=2) == "BC"
        assert types(stream_position=9) == ""
        assert types(stream_position=9, backwards=True) == "EDCBA"

    def test_more_than_a_page(self, client: KurrentDBClient, stream: str) -> None:
        for _ in range(3):
            client.append_to_stream(stream, current_version=ANY, events=events(*["A"] * 700))
        assert [each.stream_position for each in client.get_stream(stream)] == list(range(2100))
        assert len(list(client.read_all(filter_include=["A"], limit=1500))) == 1500

    def test_all_from_a_saved_position(self, client: KurrentDBClient, stream: str) -> None:
        position = client.append_to_stream(stream, current_version=NONE, events=events("A"))
        client.append_to_stream(stream, current_version=0, events=events("B"))
        assert [each.type for each in client.read_all(commit_position=position)] == ["A", "B"]
        before = client.read_all(commit_position=position, backwards=True, limit=5)
        assert all(each.commit_position < position for each in before)
        last = next(iter(client.read_all(backwards=True, limit=1)))
        assert last.type == "B"
        assert client.get_commit_position() == last.commit_position

    def test_a_position_of_another_store(self, client: KurrentDBClient) -> None:
        with pytest.raises(KurrentDBClientError, match="InvalidPosition"):
            list(client.read_all(commit_position=10**12))

    def test_filters(self, client: KurrentDBClient, stream: str) -> None:
        kind = uuid.uuid4().hex
        client.append_to_stream(stream, current_version=NONE, events=events(f"{kind}A", f"{kind}B", f"x{kind}"))

        def types(**how: object) -> list[str]:
            return [each.type.replace(kind, "") for each in client.read_all(**how)]  # type: ignore[arg-type]

        assert types(filter_include=[f"{kind}A"]) == ["A"]
        assert types(filter_include=[f"{kind}.", f"x{kind}"]) == ["A", "B", "x"]
        assert types(filter_include=[kind], filter_by_prefix=True) == ["A", "B"]
        by_stream = {"filter_by_stream_name": True}
        assert types(filter_include=[stream], **by_stream) == ["A", "B", "x"]
        category = stream.partition("-")[0] + "-"
        assert types(filter_include=[category], filter_by_prefix=True, **by_stream) == ["A", "B", "x"]
        assert kind not in "".join(types(filter_exclude=[f".*{kind}.*"]))

    def test_a_link_and_what_it_stands_for(self, client: KurrentDBClient, stream: str) -> None:
        client.append_to_stream(stream, current_version=NONE, events=events("A", "B"))
        link = NewEvent("$>", data=f"1@{stream}".encode(), content_type="application/octet-stream")
        client.append_to_stream(f"{stream}-links", current_version=NONE, events=[link])
        (plain,) = client.get_stream(f"{stream}-links")
        assert (plain.type, plain.link) == ("$>", None)
        (resolved,) = client.get_stream(f"{stream}-links", resolve_links=True)
        assert (resolved.type, resolved.stream_name, resolved.stream_position) == ("B", stream, 1)
        assert resolved.link is not None
        assert (resolved.link.id, resolved.link.stream_name) == (link.id, f"{stream}-links")

    def test_streams_that_the_system_makes_up(self, client: KurrentDBClient, stream: str) -> None:
        category = stream.partition("-")[0]
        kind = f"Kind{uuid.uuid4().hex}"
        about = json.dumps({"$correlationId": kind}).encode()
        for name in (stream, f"{category}-2"):
            client.append_to_stream(name, current_version=NONE, events=[NewEvent(kind, data=b"{}", metadata=about)])
        for made_up in (f"$ce-{category}", f"$et-{kind}", f"$bc-{kind}", f"$category-{category}"):
            links = client.get_stream(made_up)
            assert [each.data.decode() for each in links] == [f"0@{stream}", f"0@{category}-2"]
            assert [each.type for each in links] == ["$>", "$>"]
            read = client.get_stream(made_up, resolve_links=True)
            assert [each.stream_name for each in read] == [stream, f"{category}-2"]
            after = client.get_stream(made_up, stream_position=links[0].stream_position + 1, resolve_links=True)
            assert [each.stream_name for each in after] == [f"{category}-2"]
            back = client.get_stream(made_up, backwards=True, limit=1, resolve_links=True)
            assert [each.stream_name for each in back] == [f"{category}-2"]
        assert stream in [each.stream_name for each in client.get_stream("$streams", resolve_links=True)]
        with pytest.raises(NotFoundError):
            client.get_stream(f"$ce-{uuid.uuid4().hex}")
        with pytest.raises(KurrentDBClientError, match="makes up"):
            client.append_to_stream(f"$ce-{category}", current_version=ANY, events=events("A"))

    def test_an_index(self, client: KurrentDBClient, stream: str) -> None:
        category = stream.partition("-")[0]
        client.append_to_stream(stream, current_version=NONE, events=events("A", "B"))
        read = client.read_all(
            filter_include=[f"$idx-ce-{category}"], filter_by_prefix=True, filter_by_stream_name=True
        )
        assert [each.type for each in read] == ["A", "B"]


class TestDelete:
    def test_deleted_and_written_again(self, client: KurrentDBClient, stream: str) -> None:
        with pytest.raises(NotFoundError):
            client.delete_stream(stream, current_version=ANY)
        client.append_to_stream(stream, current_version=NONE, events=events("A", "B"))
        with pytest.raises(WrongCurrentVersionError) as wrong:
            client.delete_stream(stream, current_version=0)
        assert (wrong.value.expected_version, wrong.value.actual_version) == (0, 1)
        client.delete_stream(stream, current_version=1)
        with pytest.raises(NotFoundError):
            client.get_stream(stream)
        with pytest.raises(StreamIsDeletedError):
            client.delete_stream(stream, current_version=EXISTS)
        with pytest.raises(StreamIsDeletedError):
            client.append_to_stream(stream, current_version=EXISTS, events=events("C"))
        client.delete_stream(stream, current_version=ANY)
        client.append_to_stream(stream, current_version=NONE, events=events("C"))
        assert [(each.type, each.stream_position) for each in client.get_stream(stream)] == [("C", 2)]

    def test_a_tombstone(self, client: KurrentDBClient, stream: str) -> None:
        with pytest.raises(NotFoundError):
            client.tombstone_stream(stream, current_version=EXISTS)
        client.tombstone_stream(stream, current_version=ANY)
        for attempt in (
            lambda: client.append_to_stream(stream, current_version=ANY, events=events("A")),
            lambda: client.append_to_stream(stream, current_version=ANY, events=events("A")[0]),
            lambda: client.get_stream(stream),
            lambda: client.subscribe_to_stream(stream),
            lambda: client.delete_stream(stream, current_version=ANY),
            lambda: client.tombstone_stream(stream, current_version=ANY),
            lambda: client.get_stream_metadata(stream),
        ):
            with pytest.raises((StreamIsDeletedError, KurrentDBClientError), match="is deleted"):
                attempt()


class TestMetadata:
    def test_set_and_read(self, client: KurrentDBClient, stream: str) -> None:
        assert client.get_stream_metadata(stream) == ({}, NONE)
        client.set_stream_metadata(stream, metadata={"color": "red"}, current_version=NONE)
        client.set_stream_metadata(stream, metadata={"color": "blue", "$acl": {"$r": "$all"}}, current_version=0)
        assert client.get_stream_metadata(stream) == ({"color": "blue", "$acl": {"$r": "$all"}}, 1)
        with pytest.raises(WrongCurrentVersionError):
            client.set_stream_metadata(stream, metadata={}, current_version=10)

    @pytest.mark.parametrize(
        ("metadata", "left"), [({"$maxCount": 2}, "DE"), ({"$tb": 3}, "DE"), ({"$tb": 99}, ""), ({}, "ABCDE")]
    )
    @pytest.mark.parametrize("early", [False, True], ids=["after", "before"])
    def test_what_readers_still_see(
        self, client: KurrentDBClient, stream: str, metadata: dict[str, int], left: str, early: bool
    ) -> None:
        if early:
            client.set_stream_metadata(stream, metadata=metadata, current_version=NONE)
        client.append_to_stream(stream, current_version=NONE, events=events(*"ABCDE"))
        if not early:
            client.set_stream_metadata(stream, metadata=metadata, current_version=NONE)
        assert "".join(each.type for each in client.get_stream(stream)) == left
        client.set_stream_metadata(stream, metadata={}, current_version=0)
        assert len(client.get_stream(stream)) == 5

    def test_deleting_is_seen_there_and_survives_a_read_and_a_write(self, client: KurrentDBClient, stream: str) -> None:
        client.append_to_stream(stream, current_version=NONE, events=events("A", "B"))
        client.set_stream_metadata(stream, metadata={"color": "red"}, current_version=NONE)
        client.delete_stream(stream, current_version=1)
        metadata, _ = client.get_stream_metadata(stream)
        assert metadata == {"color": "red", "$tb": 2**63 - 1}
        client.append_to_stream(stream, current_version=NONE, events=events("C"))
        metadata, version = client.get_stream_metadata(stream)
        assert metadata == {"color": "red", "$tb": 2}
        client.set_stream_metadata(stream, metadata={**metadata, "color": "blue"}, current_version=version)
        assert [each.type for each in client.get_stream(stream)] == ["C"]

    def test_deleting_by_metadata(self, client: KurrentDBClient, stream: str) -> None:
        client.append_to_stream(stream, current_version=NONE, events=events("A"))
        client.set_stream_metadata(stream, metadata={"$tb": 2**63 - 1}, current_version=ANY)
        with pytest.raises(NotFoundError):
            client.get_stream(stream)
