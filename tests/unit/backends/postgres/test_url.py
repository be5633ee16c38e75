"""What a URL may say, and that nothing we show holds its password."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from headwater.backends.postgres.url import parse
from headwater.errors import BadUrl


def test_our_parameters_are_ours_and_the_rest_is_the_drivers() -> None:
    target = parse("postgresql://ada@db.example:6432/loans?schema=bank&ordering=serialized&pool=4&sslmode=require")
    assert (target.schema, target.ordering, target.pool, target.partition) == ("bank", "serialized", 4, None)
    facts = conninfo_to_dict(target.conninfo)
    assert facts["sslmode"] == "require"
    assert facts["host"] == "db.example"
    assert "schema" not in facts


def test_defaults() -> None:
    target = parse("postgresql:///loans")
    assert (target.schema, target.ordering, target.pool) == ("headwater", "gate", 10)
    facts = conninfo_to_dict(target.conninfo)
    assert facts["target_session_attrs"] == "read-write"
    assert facts["application_name"] == "headwater"


def test_the_driver_keeps_what_the_url_says_of_our_defaults() -> None:
    facts = conninfo_to_dict(parse("postgresql:///loans?connect_timeout=3&application_name=bank").conninfo)
    assert (facts["connect_timeout"], facts["application_name"]) == ("3", "bank")


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("ordering=loose", "ordering is 'loose'"),
        ("schema=a-b", "schema name 'a-b'"),
        ("schema=pg_catalog", "schema name 'pg_catalog'"),
        ("schema=" + "x" * 64, "schema name"),
        ('schema=a"b', "schema name"),
        ("partition=10", "partition is '10'"),
        ("partition=many", "partition is 'many'"),
        ("pool=1", "pool is '1'"),
        ("pool=-3", "pool is '-3'"),
        ("colour=blue", "colour"),
    ],
)
def test_what_is_not_understood_is_refused(query: str, problem: str) -> None:
    with pytest.raises(BadUrl) as refused:
        parse(f"postgresql://ada:s3cret@db.example/loans?{query}")
    assert problem in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("url", ["postgresql://ada:s3cret@db/loans", "postgresql://ada@db/loans?password=s3cret"])
def test_a_target_shows_no_password(url: str) -> None:
    target = parse(url)
    assert "s3cret" not in repr(target) + target.shown
    assert conninfo_to_dict(target.conninfo)["password"] == "s3cret"
