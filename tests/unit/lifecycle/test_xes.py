"""Every kind of attribute that XES has, and logs of shapes that the example does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headwater.lifecycle import Mapping
from headwater.lifecycle.files import opened
from headwater.lifecycle.importing import incoming_events
from headwater.lifecycle.mapping import Incoming


def events_of(tmp_path: Path, xml: str, **mapping: Any) -> list[Incoming]:
    (tmp_path / "log.xes").write_text(xml, encoding="utf-8")
    with opened(str(tmp_path / "log.xes")) as file:
        return list(incoming_events(file, Mapping(category="loan", **mapping)))


def case(events: str, name: str = "173688", attributes: str = "") -> str:
    return f'<trace><string key="concept:name" value="{name}"/>{attributes}{events}</trace>'


SUBMITTED = '<event><string key="concept:name" value="A_SUBMITTED"/></event>'


def event(attributes: str) -> str:
    return SUBMITTED.replace("</event>", attributes + "</event>")


def test_each_kind_of_attribute_keeps_its_value(tmp_path: Path) -> None:
    attributes = (
        '<string key="s" value="Überweisung &lt;1&gt;"/><date key="d" value="2011-10-01T00:38:44.546+02:00"/>'
        '<int key="i" value="-20000"/><int key="big" value="99999999999999999999"/>'
        '<float key="f" value="4.5e3"/><float key="nan" value="NaN"/><float key="inf" value="-INF"/>'
        '<boolean key="yes" value="true"/><boolean key="no" value="0"/>'
        '<id key="id" value="0198c6d2-3f5e-7000-8000-000000000001"/>'
        '<list key="offers"><values><int key="offer" value="1"/><int key="offer" value="2"/></values></list>'
        '<list key="old"><string key="a" value="x"/></list>'
        '<container key="home"><string key="town" value="Eindhoven"/></container>'
        '<string key="meta" value="v"><string key="by" value="112"><int key="n" value="1"/></string></string>'
        '<string key="s" value="the second of this key"/>'
    )
    (found,) = events_of(tmp_path, f"<log>{case(event(attributes))}</log>")
    assert found.event.data == {
        "s": "Überweisung <1>",
        "d": "2011-10-01T00:38:44.546+02:00",
        "i": -20000,
        "big": "99999999999999999999",
        "f": 4500.0,
        "nan": "NaN",
        "inf": "-INF",
        "yes": True,
        "no": False,
        "id": "0198c6d2-3f5e-7000-8000-000000000001",
        "offers": [{"offer": 1}, {"offer": 2}],
        "old": [{"a": "x"}],
        "home": {"town": "Eindhoven"},
        "meta": {"value": "v", "attributes": {"by": {"value": "112", "attributes": {"n": 1}}}},
        "s (2)": "the second of this key",
    }


def test_a_log_without_a_namespace_and_one_with_are_the_same(tmp_path: Path) -> None:
    plain = f"<log>{case(SUBMITTED)}</log>"
    spaced = plain.replace("<log>", '<log xmlns="http://www.xes-standard.org/">')
    assert [each.event.id for each in events_of(tmp_path, plain)] == [
        each.event.id for each in events_of(tmp_path, spaced)
    ]


def test_what_a_log_declares_for_all_is_there_unless_an_event_says_otherwise(tmp_path: Path) -> None:
    declared = (
        '<global scope="event"><string key="lifecycle:transition" value="COMPLETE"/>'
        '<date key="time:timestamp" value="1970-01-01T00:00:00Z"/></global>'
        '<global scope="trace"><string key="AMOUNT_REQ" value="UNKNOWN"/>'
        '<string key="concept:name" value="UNKNOWN"/></global>'
    )
    started = event('<string key="lifecycle:transition" value="START"/>')
    first, second = events_of(tmp_path, f"<log>{declared}{case(SUBMITTED + started)}</log>")
    assert first.event.data == {"lifecycle:transition": "COMPLETE", "case": {"AMOUNT_REQ": "UNKNOWN"}}
    assert first.event.occurred_at is None, "a moment that was declared for all is nobody's"
    assert second.event.data == {"lifecycle:transition": "START"}


def test_a_cases_attributes_may_follow_its_events(tmp_path: Path) -> None:
    attributes = '<int key="AMOUNT_REQ" value="20000"/><string key="concept:name" value="7"/>'
    (found,) = events_of(tmp_path, f"<log><trace>{SUBMITTED}{attributes}</trace></log>")
    assert (found.stream, found.event.data) == ("loan-7", {"case": {"AMOUNT_REQ": 20000}})


def test_a_case_longer_than_what_is_held_goes_on(tmp_path: Path) -> None:
    found = events_of(tmp_path, f"<log>{case(SUBMITTED * 12_001)}{case(SUBMITTED, '173691')}</log>")
    assert [each.before for each in found] == [*range(12_001), 0]
    assert {each.stream for each in found[:-1]} == {"loan-173688"}
    assert len({each.event.id for each in found}) == 12_002
    assert found[12_000].place == "case '173688', event 12001"


def test_a_case_that_comes_back_later_in_the_log_goes_on_in_its_stream(tmp_path: Path) -> None:
    found = events_of(tmp_path, f"<log>{case(SUBMITTED)}{case(SUBMITTED, '173691')}{case(SUBMITTED)}</log>")
    assert [(each.stream, each.before) for each in found] == [
        ("loan-173688", 0),
        ("loan-173691", 0),
        ("loan-173688", 1),
    ]
    assert len({each.event.id for each in found}) == 3


def test_a_case_without_events_makes_no_stream(tmp_path: Path) -> None:
    assert [each.stream for each in events_of(tmp_path, f"<log>{case('')}{case(SUBMITTED, '2')}</log>")] == ["loan-2"]


def test_ids_say_what_happened_where(tmp_path: Path) -> None:
    def ids(xml: str, **mapping: Any) -> list[object]:
        return [each.event.id for each in events_of(tmp_path, f"<log>{xml}</log>", **mapping)]

    usual = ids(case(SUBMITTED))
    assert ids(case(SUBMITTED)) == usual
    assert ids(case(SUBMITTED, "173691")) != usual
    assert ids(case(event('<int key="n" value="1"/>'))) != usual
    assert ids(case(SUBMITTED), source="branch-7") != usual


@pytest.mark.parametrize(
    ("tag_columns", "tags"),
    [
        (None, ("resource:112",)),
        ((), ()),
        ((("clerk", "ORG:RESOURCE"), ("offer", "offer")), ("clerk:112", "offer:7")),
    ],
)
def test_tags_come_from_attributes(tmp_path: Path, tag_columns: Any, tags: tuple[str, ...]) -> None:
    xml = case(
        event('<string key="org:resource" value="112"/><int key="offer" value="7"><int key="n" value="1"/></int>')
    )
    (found,) = events_of(tmp_path, f"<log>{xml}</log>", tag_columns=tag_columns)
    assert found.event.tags == tags
