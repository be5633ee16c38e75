"""What a URL says, and what it may not say."""

from __future__ import annotations

import pytest

from headwater.backends.marten.url import parse
from headwater.errors import BadUrl

URL = "marten+postgresql://ines:s3cret@db:5433/loans"


def test_the_defaults() -> None:
    target = parse(URL)
    assert (target.marten, target.server.schema, target.tenant) == ("public", "headwater_public", "*DEFAULT*")
    assert (target.appends, target.append_aliases, target.gap_seconds) == (False, frozenset(), 3.0)
    assert target.casing.there(b'{"amount_paid":1}') == b'{"AmountPaid":1}'
    assert target.server.shown == "Marten at db:5433, database loans, schema public"
    assert "s3cret" not in repr(target)
    assert "dbname=loans" in target.server.conninfo


def test_everything_said() -> None:
    target = parse(
        f"{URL}?schema=bank&own=beside&tenant=north&append=LoanRequested,note_taken&naming=alias&json=camel&gap=0.5"
        "&alias=LoanPaid:paid&dotnet=LoanRequested:Bank.LoanRequested%2C+Bank;LoanPaid:Bank.Paid%2C+Bank&pool=4&create=no"
        "&sslmode=require"
    )
    assert (target.marten, target.server.schema, target.tenant) == ("bank", "beside", "north")
    assert target.append_aliases == {"LoanRequested", "note_taken"}
    assert target.may_append("note_taken")
    assert not target.may_append("paid")
    assert target.aliases.alias("LoanPaid") == "paid"
    assert target.dotnet_types == {"LoanRequested": "Bank.LoanRequested, Bank", "paid": "Bank.Paid, Bank"}
    assert (target.server.pool, target.server.create, target.gap_seconds) == (4, False, 0.5)
    assert target.server.shown == "Marten at db:5433, database loans, schema bank, tenant 'north'"
    assert "sslmode=require" in target.server.conninfo


def test_each_tenant_has_a_schema_of_ours() -> None:
    schemas = {parse(f"{URL}?tenant={tenant}").server.schema for tenant in ("north", "south", "North")}
    assert len(schemas) == 3
    assert all(len(name) <= 63 for name in schemas)
    assert len(parse(f"{URL}?schema={'x' * 63}&tenant=north").server.schema) <= 63


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("schema=a b", "schema name"),
        ("own=pg_own", "schema name"),
        ("naming=snake", "naming=class or naming=alias"),
        ("json=upper", "json=pascal"),
        ("gap=soon", "Give seconds"),
        ("gap=-1", "Give seconds"),
        ("gap=nan", "Give seconds"),
        ("alias=LoanPaid", "alias=LoanRequested:loan_requested"),
        ("alias=A:x,B:x", "stands for one type"),
        ("dotnet=LoanPaid", "dotnet="),
        ("ordering=serialized", "tables are Marten's"),
        ("partition=1000", "tables are Marten's"),
        ("pool=0", "whole number"),
        ("unknown=1", "unknown"),
    ],
)
def test_what_is_refused(said: str, told: str) -> None:
    with pytest.raises(BadUrl, match=told) as refused:
        parse(f"{URL}?{said}")
    assert "s3cret" not in str(refused.value)
