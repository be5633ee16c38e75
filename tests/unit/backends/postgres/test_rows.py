"""What becomes JSONB gives back the same values; the rest is kept as bytes, and comes back as given."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import headwater as hw
from headwater.backends.postgres import units
from headwater.backends.postgres.rows import array_of, faithful, numbers_of, seeks_of

JSON = "application/json"


@pytest.mark.parametrize(
    "data",
    [
        b'{"amount":20000}',
        b'{"rate":0.0725,"delta":-0.5,"n":-10,"list":[1,2.50,-3]}',
        b'{"id":"3e41b2c8-1e5a-4e10-9f6a-2b7d4c0e9e11"}',
        '{"applicant":"Łucja Ωmega 李"}'.encode(),
        b'{"quote":"a \\"b\\" \\\\ c \\n \\u00e9"}',
        b"[]",
        b"null",
        b"17",
        b'"text"',
    ],
)
def test_ordinary_json_is_jsonb(data: bytes) -> None:
    assert faithful(JSON, data)


@pytest.mark.parametrize(
    "data",
    [
        rb'{"a":"\u0000"}',
        rb'{"a":"\ud800"}',
        rb'{"a":"\uDFFF"}',
        b'{"a":1e300}',
        b'{"a": -2.5E-7}',
        b"[1E5]",
        b"1e16",
        b"-0.0",
        b'{"a":-0.0}',
        b"[-0]",
        b"[" + b"9" * 400 + b"]",
        b"-7",  # doubtful at the top, and rare
    ],
)
def test_what_jsonb_would_alter_or_refuse_is_kept_as_bytes(data: bytes) -> None:
    assert not faithful(JSON, data)


def test_only_json_is_jsonb() -> None:
    assert not faithful("application/octet-stream", b"{}")
    assert faithful("application/vnd.bank+json", b"{}")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=values)
def test_any_json_comes_back_from_the_server(postgres_url: str, data: Any) -> None:
    """Where we say that JSONB is faithful, the server agrees: equal values of equal types."""
    given = json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if not faithful(JSON, given):
        return
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("SELECT convert_to(%s::jsonb::text, 'UTF8')", (given.decode(),)).fetchone()
    assert row is not None
    back = json.loads(row[0])
    assert back == data
    assert repr(sorted_keys(back)) == repr(sorted_keys(data))


def sorted_keys(value: Any) -> Any:
    """JSONB keeps no order of keys: so that ``repr`` shows differences of type only (1 and 1.0, 0.0 and -0.0)."""
    if isinstance(value, dict):
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    return [sorted_keys(each) for each in value] if isinstance(value, list) else value


async def test_json_is_jsonb_in_the_table_and_the_rest_is_bytes(
    postgres_schema_url: str, admin: psycopg.AsyncConnection[Any], schema: str
) -> None:
    events = [
        hw.NewEvent("A_SUBMITTED", {"amount": 20000}, metadata={"by": "112"}),
        hw.NewEvent("A_RATED", {"rate": 1e300}, metadata={"rate": 1e-300}),
        hw.NewEvent("A_SCANNED", b"\x00\xff", content_type="image/tiff"),
        hw.NewEvent("A_EMPTY", b"", content_type="image/tiff"),
    ]
    async with hw.connect(postgres_schema_url) as store:
        await store.append("loan-173688", events)
        read = [event async for event in store.read("loan-173688")]
    assert [event.data for event in read] == [{"amount": 20000}, {"rate": 1e300}, b"\x00\xff", b""]
    assert [event.metadata for event in read] == [{"by": "112"}, {"rate": 1e-300}, {}, {}]
    rows = await (
        await admin.execute(
            "SELECT data->>'amount', data_bytes, metadata->>'by', metadata_bytes IS NOT NULL, content_type "
            f"FROM {schema}.events ORDER BY position"
        )
    ).fetchall()
    assert rows == [
        ("20000", None, "112", False, None),
        (None, b'{"rate":1e300}', None, True, None),
        (None, b"\x00\xff", None, False, "image/tiff"),
        (None, b"", None, False, "image/tiff"),
    ]


async def test_json_that_the_server_refuses_after_all_is_stored_as_bytes(
    postgres_schema_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should ``faithful`` overlook something, the append is repeated with bytes; its neighbours don't suffer."""
    monkeypatch.setattr(units, "faithful", lambda content_type, data: True)
    async with hw.connect(postgres_schema_url) as store:
        appends = [hw.Append(f"loan-{n}", [hw.NewEvent("A_NOTED", {"note": "\0" * (n % 2)})]) for n in range(4)]
        await store.append("loan-9", [hw.NewEvent("A_NOTED", {"note": "\0"})])
        await store.append_all(appends)
        notes = [event.data["note"] async for event in store.read_all()]
    assert notes == ["\0", "", "\0", "", "\0"]


def test_array_literals_hold_hostile_texts(postgres_url: str) -> None:
    texts: list[str | None] = [
        "plain",
        'a "quoted" one',
        "back\\slash",
        "{brace,comma}",
        "",
        "NULL",
        None,
        "zwei\nZeilen",
        "'",
    ]
    literal = array_of([None if text is None else text.encode() for text in texts]).decode()
    with psycopg.connect(postgres_url) as connection:
        statement = "SELECT %s::text[], %s::int8[]"
        row = connection.execute(statement, (literal, numbers_of([1, None, -2]).decode())).fetchone()
    assert row == (texts, [1, None, -2])


def test_a_tag_with_types_is_a_seek_for_each_type() -> None:
    query = hw.Query(
        [
            hw.QueryItem(types=["O_ACCEPTED", "O_DECLINED"], tags=["applicant:112", "offer:3"]),
            hw.QueryItem(streams=["loan-1"], types=["A_SUBMITTED"]),
        ]
    )
    assert seeks_of(query) == [
        {"tag": "applicant:112", "tags": ("offer:3",), "type": "O_ACCEPTED"},
        {"tag": "applicant:112", "tags": ("offer:3",), "type": "O_DECLINED"},
        {"stream": "loan-1", "types": ("A_SUBMITTED",)},
    ]
