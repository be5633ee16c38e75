"""SQL as projections write it: what is a name, and what only looks like one."""

from __future__ import annotations

import pytest

from headwater.projections.statements import declared_tables, filled, pyformat, split, tables_in


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("values (:loan, :at)", "values (%(loan)s, %(at)s)"),
        ("select '{}'::jsonb, :x::bigint", "select '{}'::jsonb, %(x)s::bigint"),
        ("select 'at 10:30 o''clock :no', :yes", "select 'at 10:30 o''clock :no', %(yes)s"),
        ('select ":no", "a"":no"', 'select ":no", "a"":no"'),
        ("select 1 -- :no\n, :yes", "select 1 -- :no\n, %(yes)s"),
        ("select /* :no\n:no */ :yes", "select /* :no\n:no */ %(yes)s"),
        ("select $$:no$$, $t$ :no $$ $t$, :yes", "select $$:no$$, $t$ :no $$ $t$, %(yes)s"),
        ("where loan like 'loan-%' and n % 2 = :n", "where loan like 'loan-%%' and n %% 2 = %(n)s"),
        ("select a[1:2]", "select a[1:2]"),
    ],
)
def test_values_for_psycopg(given: str, expected: str) -> None:
    assert pyformat(given) == expected


def test_tables_are_filled_in_outside_texts_only() -> None:
    sql = "insert into {cases} values ('{cases}', :a) -- {cases}\non conflict do update set n = {cases}.n, b = '{}'"
    assert filled(sql, {"cases": "cases_v2"}) == (
        "insert into cases_v2 values ('{cases}', :a) -- {cases}\non conflict do update set n = cases_v2.n, b = '{}'"
    )
    with pytest.raises(KeyError):
        filled("select * from {other}", {"cases": "cases_v1"})


def test_a_script_declares_tables_and_falls_into_statements() -> None:
    script = """
        CREATE TABLE {cases} (loan text default ';'); -- one; two
        create table if not exists {steps} (n bigint);
        create index {cases}_n on {cases} (loan);
    """
    assert declared_tables(script) == ("cases", "steps")
    assert tables_in(script) == {"cases", "steps"}
    assert [each.split("(")[0].split()[-1] for each in split(script)] == ["{cases}", "{steps}", "{cases}"]
    assert len(split(script)) == 3
