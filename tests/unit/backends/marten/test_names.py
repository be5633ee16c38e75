"""Aliases of types and casing of JSON names: there and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.backends.marten.aliases import Aliases, alias_of_class
from headwater.backends.marten.casing import CASINGS, Casing, JsonCasing


@pytest.mark.parametrize(
    ("name", "alias"),
    [
        ("LoanRequested", "loan_requested"),
        ("URLChanged", "url_changed"),
        ("HTTPServerStarted", "http_server_started"),
        ("OrderV2Created", "order_v2_created"),
        ("Order2Placed", "order_2_placed"),
        ("A1B2C", "a1b2c"),
        ("AEvent", "a_event"),
        ("Order_Placed", "order___placed"),
        ("ÉtéCommencé", "été_commencé"),
    ],
)
def test_the_alias_of_a_class(name: str, alias: str) -> None:
    r"""As Marten's two regular expressions make it (\P{Ll}\P{Ll}\p{Ll}, then \p{Ll}\P{Ll})."""
    assert alias_of_class(name) == alias
    assert Aliases().alias(name) == alias


@given(kind=st.text(min_size=1, max_size=12), naming=st.sampled_from(["class", "alias"]))
def test_every_type_comes_back(kind: str, naming: Any) -> None:
    aliases = Aliases(naming, {"LoanPaid": "paid"})
    assert aliases.type_of(aliases.code(kind) or aliases.alias(kind)) == kind


@given(one=st.text(min_size=1, max_size=6), other=st.text(min_size=1, max_size=6))
def test_no_two_types_share_a_key(one: str, other: str) -> None:
    aliases = Aliases("class", {"LoanPaid": "paid"})
    assert (aliases.key(one) == aliases.key(other)) == (one == other)


def test_what_the_url_says_counts() -> None:
    aliases = Aliases("class", {"URLChanged": "url_changed", "LoanPaid": "paid"})
    assert [aliases.alias("LoanPaid"), aliases.type_of("paid"), aliases.type_of("url_changed")] == [
        "paid",
        "LoanPaid",
        "URLChanged",
    ]
    assert aliases.code("URLChanged") is None
    assert aliases.type_of("loan_paid") == "loan_paid"  # LoanPaid is something else
    assert Aliases("alias").type_of("loan_requested") == "loan_requested"


@pytest.mark.parametrize(
    ("casing", "here", "there"),
    [
        (
            "pascal",
            {"amount_paid": 1, "a": {"rate2_percent": [{"x": 2}]}},
            {"AmountPaid": 1, "A": {"Rate2Percent": [{"X": 2}]}},
        ),
        ("pascal", {"user-1": 1, "2024": 2, "x_1": 3, "userId": 4}, {"user-1": 1, "2024": 2, "x_1": 3, "userId": 4}),
        ("pascal", {"note": '"amount_paid": 1', 'q"_x': 1}, {"Note": '"amount_paid": 1', 'q"_x': 1}),
        ("camel", {"amount_paid": 1, "amount": 2, "URL": 3}, {"amountPaid": 1, "amount": 2, "URL": 3}),
        ("as-is", {"amount_paid": 1}, {"amount_paid": 1}),
    ],
)
def test_names_in_json(casing: JsonCasing, here: Any, there: Any) -> None:
    """Of members only, and only where they can be changed back."""
    made = Casing(casing)
    assert json.loads(made.there(json.dumps(here).encode())) == there
    assert json.loads(made.here(json.dumps(there).encode())) == here


_names = st.from_regex(r"[a-zA-Z0-9_\"\\é]{0,8}", fullmatch=True)
_documents = st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | _names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=8,
)


@given(document=_documents, casing=st.sampled_from(CASINGS))
def test_every_document_comes_back_or_is_seen_not_to(document: Any, casing: JsonCasing) -> None:
    """Names that .NET would have written that way are the only ones that do not (their bytes are kept beside)."""
    made, raw = Casing(casing), json.dumps(document).encode()
    back = made.here(made.there(raw))
    assert back == raw or made.here(raw) != raw


def test_a_long_text_takes_no_memory_to_go_back_in() -> None:
    """A mebibyte of text, and of escapes: matched in one go."""
    for text in ("%" * 1_000_000, '\\"' * 500_000):
        raw = json.dumps({"scan_of_letter": text}).encode()
        assert Casing("pascal").here(Casing("pascal").there(raw)) == raw
