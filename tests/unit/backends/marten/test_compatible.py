"""The schema that we print is Marten's: names, types, constraints and functions, as its source has them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from tests.services.marten import MakeSchema

import headwater as hw
from headwater.backends.marten.compatible import METADATA, Options, compatible_sql

Connection = psycopg.Connection[Any]

SCHEMA = "mt_compatible"


@pytest.fixture
def connection(marten_database: str) -> Iterator[Connection]:
    """In a transaction that is rolled back: a schema made in it is never there."""
    with psycopg.connect(marten_database) as connection:
        yield connection
        connection.rollback()


def make(connection: Connection, **fields: Any) -> None:
    """The one schema, anew."""
    connection.execute("SET LOCAL client_min_messages = warning")
    connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    connection.execute(compatible_sql(Options(schema=SCHEMA, **fields)))


def columns(connection: Connection, table: str) -> list[str]:
    """Each column in the order of the table: name, type, whether it must have a value, default."""
    found = connection.execute(
        """SELECT concat_ws(' ', attname, format_type(atttypid, atttypmod),
                CASE WHEN attnotnull THEN '!' END, '= ' || pg_get_expr(adbin, adrelid))
            FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
            WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum""",
        [f"{SCHEMA}.{table}"],
    )
    return [row[0] for row in found]


def constraints(connection: Connection, table: str) -> dict[str, str]:
    found = connection.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype <> 'n'",
        [f"{SCHEMA}.{table}"],
    )
    return {name: text.replace(f"{SCHEMA}.", "") for name, text in found}


def indexes(connection: Connection) -> dict[str, str]:
    """Those that belong to no constraint."""
    found = connection.execute(
        """SELECT relname, pg_get_indexdef(pg_class.oid) FROM pg_class JOIN pg_index ON indexrelid = pg_class.oid
            WHERE relnamespace = %s::regnamespace
                AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = pg_class.oid AND contype = 'p')""",
        [SCHEMA],
    )
    return {name: re.sub(rf"INDEX \w+ ON {SCHEMA}\.|USING btree ", "", text) for name, text in found}


def functions(connection: Connection) -> dict[str, str]:
    found = connection.execute(
        """SELECT proname, pg_get_function_arguments(oid) || ' -> ' || pg_get_function_result(oid)
            FROM pg_proc WHERE pronamespace = %s::regnamespace""",
        [SCHEMA],
    )
    return {name: text.replace("character varying", "varchar") for name, text in found}


PARAMETERS = {
    "causation": "causation_ids",
    "correlation": "correlation_ids",
    "headers": "headers",
    "user_name": "user_names",
}


@pytest.mark.parametrize("identity", ["guid", "string"])
@pytest.mark.parametrize("conjoined", [False, True])
@pytest.mark.parametrize("version", [8, 9])
@pytest.mark.parametrize("indexed", [False, True])
def test_every_combination_of_options_makes_a_schema(
    connection: Connection, identity: str, conjoined: bool, version: int, indexed: bool
) -> None:
    fields = {"identity": identity, "conjoined": conjoined, "version": version}
    for size in range(len(METADATA) + 1):
        for metadata in itertools.combinations(METADATA, size):
            with connection.transaction(force_rollback=True):
                make(connection, metadata=metadata, unique_ids=indexed, by_type=indexed, **fields)
                arguments = functions(connection)["mt_quick_append_events"]
            assert {name for name, parameter in PARAMETERS.items() if parameter in arguments} == set(metadata)


STREAMS_AFTER_ID = [
    "type character varying",
    "version bigint",
    "timestamp timestamp with time zone ! = now()",
]
TENANT = "tenant_id character varying = '*DEFAULT*'::character varying"
TENANT_IN_KEY = "tenant_id character varying ! = '*DEFAULT*'::character varying"
CREATED = "created timestamp with time zone ! = now()"
ARCHIVED = "is_archived boolean = false"
SNAPSHOTS = ["snapshot jsonb", "snapshot_version integer"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["id uuid !", *STREAMS_AFTER_ID, CREATED, TENANT, ARCHIVED]),
        ({"identity": "string"}, ["id character varying !", *STREAMS_AFTER_ID, CREATED, TENANT, ARCHIVED]),
        ({"conjoined": True}, [TENANT_IN_KEY, "id uuid !", *STREAMS_AFTER_ID, CREATED, ARCHIVED]),
        ({"version": 8}, ["id uuid !", *STREAMS_AFTER_ID, *SNAPSHOTS, CREATED, TENANT, ARCHIVED]),
        (
            {"version": 8, "conjoined": True},
            [TENANT_IN_KEY, "id uuid !", *STREAMS_AFTER_ID, *SNAPSHOTS, CREATED, ARCHIVED],
        ),
    ],
)
def test_columns_of_streams(connection: Connection, fields: dict[str, Any], expected: list[str]) -> None:
    make(connection, **fields)
    assert columns(connection, "mt_streams") == expected


@pytest.mark.parametrize("version", [8, 9])
@pytest.mark.parametrize("identity", ["guid", "string"])
@pytest.mark.parametrize("conjoined", [False, True])
def test_columns_of_events(connection: Connection, version: int, identity: str, conjoined: bool) -> None:
    make(connection, version=version, identity=identity, conjoined=conjoined, metadata=METADATA)
    found = columns(connection, "mt_events")
    (default,) = [text.partition(" = ")[2] for text in found if text.startswith("timestamp ")]
    assert re.fullmatch(r"'\d{4}-.*'::timestamp with time zone", default)  # a constant
    assert found == [
        "seq_id bigint !",
        "id uuid !",
        "stream_id uuid" if identity == "guid" else "stream_id character varying",
        "version bigint !",
        "data jsonb !",
        *(["bdata bytea"] if version == 9 else []),
        "type character varying(500) !",
        f"timestamp timestamp with time zone ! = {default}",
        TENANT,
        "mt_dotnet_type character varying",
        "correlation_id character varying",
        "causation_id character varying",
        "headers jsonb",
        "user_name character varying",
        ARCHIVED,
    ]


def test_metadata_columns_are_there_only_where_they_are_kept(connection: Connection) -> None:
    names = {
        "causation": "causation_id",
        "correlation": "correlation_id",
        "headers": "headers",
        "user_name": "user_name",
    }
    for kept in METADATA:
        make(connection, metadata=(kept,))
        found = {text.split()[0] for text in columns(connection, "mt_events")}
        assert found & set(names.values()) == {names[kept]}


def test_columns_of_the_daemons_tables(connection: Connection) -> None:
    make(connection)
    assert columns(connection, "mt_event_progression") == [
        "name character varying !",
        "last_seq_id bigint",
        "last_updated timestamp with time zone = transaction_timestamp()",
    ]
    assert columns(connection, "mt_high_water_skips") == [
        "ending_sequence bigint !",
        "starting_sequence bigint !",
        "timestamp timestamp with time zone = transaction_timestamp()",
    ]
    make(connection, version=8)
    assert columns(connection, "mt_event_progression")[0] == "name character varying !"
    assert connection.execute("SELECT to_regclass(%s)", [f"{SCHEMA}.mt_high_water_skips"]).fetchone() == (None,)


def test_constraints(connection: Connection) -> None:
    make(connection)
    assert constraints(connection, "mt_streams") == {"pkey_mt_streams_id": "PRIMARY KEY (id)"}
    assert constraints(connection, "mt_events") == {
        "pkey_mt_events_seq_id": "PRIMARY KEY (seq_id)",
        "fkey_mt_events_stream_id": "FOREIGN KEY (stream_id) REFERENCES mt_streams(id) ON DELETE CASCADE",
    }
    assert constraints(connection, "mt_event_progression") == {"pk_mt_event_progression": "PRIMARY KEY (name)"}
    assert constraints(connection, "mt_high_water_skips") == {
        "pkey_mt_high_water_skips_ending_sequence": "PRIMARY KEY (ending_sequence)"
    }
    make(connection, conjoined=True)
    assert constraints(connection, "mt_streams") == {"pkey_mt_streams_tenant_id_id": "PRIMARY KEY (tenant_id, id)"}
    assert constraints(connection, "mt_events") == {
        "pkey_mt_events_seq_id": "PRIMARY KEY (seq_id)",
        "fkey_mt_events_stream_id_tenant_id": (
            "FOREIGN KEY (tenant_id, stream_id) REFERENCES mt_streams(tenant_id, id)"
        ),
    }


def test_indexes(connection: Connection) -> None:
    make(connection)
    stream = {"pk_mt_events_stream_and_version": "CREATE UNIQUE mt_events (stream_id, version)"}
    assert indexes(connection) == stream
    make(connection, unique_ids=True)
    assert indexes(connection) == {**stream, "idx_mt_events_event_id": "CREATE UNIQUE mt_events (id)"}
    make(connection, by_type=True)
    assert indexes(connection) == {**stream, "idx_mt_events_event_type_seq_id": "CREATE mt_events (type, seq_id)"}
    make(connection, conjoined=True)
    assert indexes(connection) == {
        "pk_mt_events_stream_and_version": "CREATE UNIQUE mt_events (tenant_id, stream_id, version)"
    }


BASIC = (
    "stream uuid, stream_type varchar, tenantid varchar, event_ids uuid[], event_types varchar[],"
    " dotnet_types varchar[], bodies jsonb[]"
)
KEPT = "causation_ids varchar[], correlation_ids varchar[], headers jsonb[], user_names varchar[]"
LAST = "timestamps timestamp with time zone[], expected_version bigint DEFAULT NULL::bigint"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, f"{BASIC}, bdatas bytea[], {LAST} -> bigint[]"),
        ({"metadata": METADATA}, f"{BASIC}, bdatas bytea[], {KEPT}, {LAST} -> bigint[]"),
        ({"metadata": METADATA[::-1]}, f"{BASIC}, bdatas bytea[], {KEPT}, {LAST} -> bigint[]"),
        ({"metadata": ("headers",)}, f"{BASIC}, bdatas bytea[], headers jsonb[], {LAST} -> bigint[]"),
        ({"identity": "string"}, f"{BASIC}, bdatas bytea[], {LAST} -> bigint[]".replace("uuid", "varchar", 1)),
        ({"conjoined": True}, f"{BASIC}, bdatas bytea[], {LAST} -> bigint[]"),
        ({"version": 8}, f"{BASIC} -> integer[]"),
        ({"version": 8, "metadata": METADATA}, f"{BASIC}, {KEPT} -> integer[]"),
    ],
)
def test_arguments_of_the_function_that_appends(connection: Connection, fields: dict[str, Any], expected: str) -> None:
    make(connection, **fields)
    assert functions(connection)["mt_quick_append_events"] == expected


def test_arguments_of_the_other_functions(connection: Connection) -> None:
    make(connection)
    found = functions(connection)
    del found["mt_quick_append_events"]
    assert found == {
        "mt_archive_stream": "streamid uuid -> void",
        "mt_mark_event_progression": "name varchar, last_encountered bigint -> void",
        "mt_mark_progression_with_skip": (
            "shard_name varchar, ending_sequence bigint, starting_sequence bigint -> bigint"
        ),
    }
    make(connection, version=8, identity="string", conjoined=True)
    found = functions(connection)
    del found["mt_quick_append_events"]
    assert found == {
        "mt_archive_stream": "streamid varchar, tenantid varchar -> void",
        "mt_mark_event_progression": "name varchar, last_encountered bigint -> void",
    }


def test_the_sequence_starts_at_one_caches_nothing_and_goes_with_its_column(connection: Connection) -> None:
    make(connection)
    (facts,) = connection.execute(
        """SELECT seqstart, seqincrement, seqcache, seqtypid::regtype::text, pg_get_serial_sequence(%s, 'seq_id')
            FROM pg_sequence WHERE seqrelid = %s::regclass""",
        [f"{SCHEMA}.mt_events", f"{SCHEMA}.mt_events_sequence"],
    )
    assert facts == (1, 1, 1, "bigint", f"{SCHEMA}.mt_events_sequence")


def test_an_event_that_says_no_time_gets_the_tables(marten_schema: MakeSchema, marten_database: str) -> None:
    made = marten_schema(identity="string")
    with psycopg.connect(marten_database, autocommit=True) as connection:
        connection.execute(f"INSERT INTO {made.schema}.mt_streams (id, version) VALUES ('loan-1', 2)")
        for version in (1, 2):
            connection.execute(
                f"""INSERT INTO {made.schema}.mt_events (seq_id, id, stream_id, version, data, type)
                    VALUES ({version}, gen_random_uuid(), 'loan-1', {version}, '{{}}', 'loan_requested')"""
            )
        found = connection.execute(f"SELECT DISTINCT timestamp < now(), timestamp FROM {made.schema}.mt_events")
        ((earlier, at),) = found.fetchall()
    assert earlier
    assert datetime.now(UTC) - at < timedelta(minutes=1)


def test_marks_move_and_passed_over_gaps_are_noted(connection: Connection) -> None:
    make(connection)

    def one(sql: str) -> Any:
        return connection.execute(sql.replace("$", SCHEMA)).fetchone()[0]  # type: ignore[index]

    assert one("SELECT $.mt_mark_progression_with_skip('HighWaterMark', 4, 0)") == 4  # where there is none yet
    assert one("SELECT $.mt_mark_progression_with_skip('HighWaterMark', 9, 3)") == 4  # it stands elsewhere
    connection.execute(f"SELECT {SCHEMA}.mt_mark_event_progression('HighWaterMark', 7)")
    assert one("SELECT $.mt_mark_progression_with_skip('HighWaterMark', 9, 7)") == 9
    assert one("SELECT $.mt_mark_progression_with_skip('Other', 2, 2)") == 2
    connection.execute(f"SELECT {SCHEMA}.mt_mark_event_progression('HighWaterMark', 7)")
    assert one("SELECT $.mt_mark_progression_with_skip('HighWaterMark', 9, 7)") == 9  # again: nothing is noted twice
    found = connection.execute(
        f"SELECT starting_sequence, ending_sequence FROM {SCHEMA}.mt_high_water_skips ORDER BY 1"
    )
    assert found.fetchall() == [(0, 4), (7, 9)]
    found = connection.execute(f"SELECT name, last_seq_id FROM {SCHEMA}.mt_event_progression ORDER BY 1")
    assert found.fetchall() == [("HighWaterMark", 9), ("Other", 2)]


def test_an_append_of_nothing_makes_the_stream_and_tells_its_version(connection: Connection) -> None:
    for version, expected in ((9, [0]), (8, [None])):
        make(connection, version=version)
        more = ", '{}', '{}'" if version == 9 else ""
        (answer,) = connection.execute(
            f"""SELECT {SCHEMA}.mt_quick_append_events(gen_random_uuid(), NULL, '*DEFAULT*', '{{}}', '{{}}', '{{}}',
                '{{}}'{more})"""
        ).fetchone()  # type: ignore[misc]
        assert answer == expected


def test_nothing_of_the_template_is_printed() -> None:
    for version in (8, 9):
        sql = compatible_sql(Options(version=version, metadata=METADATA, unique_ids=True, by_type=True))
        assert not re.search(r"^\[|\{\w", sql, re.MULTILINE)
        assert sql.startswith("-- ")
        assert 'CREATE SCHEMA IF NOT EXISTS "public";' in sql.partition("CREATE TABLE")[0]


@pytest.mark.parametrize("name", ["loans;", "1loans", "pg_loans", "", "a" * 64, "Loans"])
def test_a_bad_name_of_a_schema_is_refused(name: str) -> None:
    with pytest.raises(hw.BadUrl, match="schema name"):
        compatible_sql(Options(schema=name))


def test_unknown_metadata_are_refused() -> None:
    with pytest.raises(hw.InvalidEvent, match="'tags'"):
        compatible_sql(Options(metadata=("headers", "tags")))
