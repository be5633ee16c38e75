"""Importing real loan applications with the command: complete, once, resumable, and never two histories in one."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import headwater.sync
from tests.acceptance.conftest import (
    FULL_LOG,
    SAMPLE_CASES,
    SAMPLE_EVENTS,
    SAMPLE_LOG,
    Run,
    exported,
    in_time_order,
    sample_xml,
)


def test_every_event_of_the_log_is_in_its_cases_stream(run: Run, imported: str) -> None:
    info = json.loads(run("info", imported, "--json").stdout)
    assert (info["events"], info["streams"], info["categories"]) == (SAMPLE_EVENTS, SAMPLE_CASES, {"loan": 100})
    history = [json.loads(line) for line in run("read", imported, "loan-173688", "--json").stdout.splitlines()]
    assert [event["version"] for event in history] == list(range(1, 27))
    first, last = history[0], history[-1]
    assert first["type"] == "A_SUBMITTED"
    assert first["occurred_at"] == "2011-09-30T22:38:44.546000Z"
    assert first["tags"] == ["resource:112"]
    assert first["data"] == {
        "time:timestamp": "2011-10-01T00:38:44.546+02:00",
        "lifecycle:transition": "COMPLETE",
        "org:resource": "112",
        "case": {"REG_DATE": "2011-10-01T00:38:44.546+02:00", "AMOUNT_REQ": "20000"},
    }
    assert (last["type"], last["data"]["lifecycle:transition"]) == ("W_Valideren aanvraag", "COMPLETE")
    assert "tags" not in history[4], "the log names no resource there"


def test_a_second_import_adds_nothing_whatever_the_file_is_called_and_however_packed(
    run: Run, imported: str, tmp_path: Path
) -> None:
    before = exported(run, imported)
    (tmp_path / "renamed.xml").write_text(sample_xml())
    for file in (SAMPLE_LOG, "renamed.xml"):
        done = json.loads(run("import", file, "--into", imported, "--category", "loan", "--json").stdout)
        assert (done["added"], done["present"], done["streams"]) == (0, SAMPLE_EVENTS, SAMPLE_CASES)
    assert exported(run, imported) == before


def test_a_log_that_has_grown_adds_what_is_new(run: Run, tmp_path: Path) -> None:
    whole = sample_xml()
    cut = whole.index("</trace>", len(whole) // 2)
    last_event = whole.rindex("<event>", 0, cut)
    shorter = whole[:last_event] + "</trace></log>"
    (tmp_path / "shorter.xes").write_text(shorter)
    run("import", "shorter.xes", "--into", "sqlite:///grown.db", "--category", "loan")
    done = json.loads(run("import", SAMPLE_LOG, "--into", "sqlite:///grown.db", "--category", "loan", "--json").stdout)
    assert done["present"] == shorter.count("<event>")
    assert done["added"] == SAMPLE_EVENTS - shorter.count("<event>")
    run("verify", "sqlite:///grown.db")


def test_an_import_killed_half_way_goes_on_to_the_same_store(
    run: Run, start: Callable[..., subprocess.Popen[bytes]], imported: str, tmp_path: Path
) -> None:
    rows = [json.dumps(row) + "\n" for row in in_time_order(exported(run, imported))]
    (tmp_path / "table.jsonl").write_text("".join(rows))
    options = ("--category", "loan", "--format", "jsonl")
    run("import", "table.jsonl", "--into", "sqlite:///whole.db", *options)

    process = start("import", "-", "--into", "sqlite:///killed.db", *options)
    assert process.stdin is not None
    process.stdin.write("".join(rows[: len(rows) // 2]).encode())
    process.stdin.flush()
    with headwater.sync.connect(f"sqlite:///{tmp_path}/killed.db") as store:
        reached = 0
        while reached < 500:
            assert store.wait(reached, timeout=60)
            reached = store.head()
        process.kill()
        process.communicate()
        assert 500 <= store.head() < len(rows) / 2

    done = json.loads(run("import", "table.jsonl", "--into", "sqlite:///killed.db", *options, "--json").stdout)
    assert done["present"] >= reached
    assert done["added"] > 0
    assert exported(run, "sqlite:///killed.db") == exported(run, "sqlite:///whole.db")
    run("verify", "sqlite:///killed.db")


def test_a_table_keeps_its_order_in_the_log(run: Run, imported: str, tmp_path: Path) -> None:
    rows = in_time_order(exported(run, imported))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=";")
    writer.writeheader()
    writer.writerows(rows)
    (tmp_path / "table.csv").write_text(text.getvalue(), encoding="utf-8-sig")
    done = json.loads(run("import", "table.csv", "--into", "sqlite:///t.db", "--category", "loan", "--json").stdout)
    assert (done["added"], done["streams"]) == (SAMPLE_EVENTS, SAMPLE_CASES)
    events = exported(run, "sqlite:///t.db")
    assert [each["data"]["timestamp"] for each in events] == [row["timestamp"] for row in rows]
    assert events[0]["tags"] == ["resource:112"]
    assert {each["stream"] for each in events} == {f"loan-{row['case_id']}" for row in rows}
    assert json.loads(
        run("import", "table.csv", "--into", "sqlite:///t.db", "--category", "loan", "--json").stdout
    ) == {
        "added": 0,
        "present": SAMPLE_EVENTS,
        "streams": SAMPLE_CASES,
        "dry_run": False,
    }


def test_columns_tags_times_and_source_can_be_given(run: Run, tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text("who|what|when|clerk\n173688|Called|01.10.2011 09:30|10862\n")
    run(
        *("import", "calls.csv", "--into", "sqlite:///c.db", "--category", "call", "--delimiter", "|"),
        *("--stream-column", "who", "--type-column", "what", "--time-column", "when"),
        *("--time-format", "%d.%m.%Y %H:%M", "--timezone", "Europe/Amsterdam"),
        *("--tag-column", "clerk=clerk", "--source", "switchboard"),
    )
    (event,) = exported(run, "sqlite:///c.db")
    assert (event["stream"], event["type"], event["tags"]) == ("call-173688", "Called", ["clerk:10862"])
    assert event["occurred_at"] == "2011-10-01T07:30:00Z"
    assert event["metadata"] == {"source": "switchboard"}
    assert event["data"] == {"when": "01.10.2011 09:30", "clerk": "10862"}


def test_another_history_of_the_same_case_is_refused_or_joined(run: Run, imported: str, tmp_path: Path) -> None:
    other = sample_xml().replace('value="20000"', 'value="99999"')
    (tmp_path / "other.xes").write_text(other)
    before = exported(run, imported)
    refused = run("import", "other.xes", "--into", imported, "--category", "loan", code=1)
    assert "loan-173688" in refused.stderr
    assert "case '173688', event 1" in refused.stderr
    assert "--join" in refused.stderr
    assert exported(run, imported) == before
    joined = json.loads(run("import", "other.xes", "--into", imported, "--category", "loan", "--join", "--json").stdout)
    assert joined["added"] > 0
    assert exported(run, imported)[: len(before)] == before
    run("verify", imported)
    again = json.loads(run("import", "other.xes", "--into", imported, "--category", "loan", "--join", "--json").stdout)
    assert again["added"] == 0


def test_a_rehearsal_writes_nothing(run: Run, tmp_path: Path) -> None:
    done = run("import", SAMPLE_LOG, "--dry-run")
    assert "2,185 events in 100 streams can be imported" in done.stdout
    assert not list(tmp_path.iterdir())


_XES = '<log><trace><string key="concept:name" value="1"/><event>{}</event></trace></log>'
_BOMB = '<!DOCTYPE log [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
_CASES_ROW = "case_id,activity,timestamp\n1,A_SUBMITTED,2011-10-01\n"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.xes", b"", "it is empty"),
        ("page.xes", b"<html><body>no log</body></html>", "its root is <html>, not <log>"),
        ("cut.xes", _XES[:40].encode(), "not well-formed XML"),
        ("cut.xes.gz", SAMPLE_LOG.read_bytes()[:20000], "damaged or cut short"),
        ("bomb.xes", (_BOMB + _XES.format('<string key="concept:name" value="&b;"/>')).encode(), "document type"),
        ("outside.xes", b'<!DOCTYPE log SYSTEM "file:///etc/passwd"><log/>', "document type"),
        ("deep.xes", (b"<log><trace>" + b'<list key="a">' * 5000), "nested more than 100 deep"),
        ("untyped.xes", _XES.format('<string key="x" value="y"/>').encode(), "case '1', event 1: it has no 'concept:n"),
        ("number.xes", _XES.format('<int key="n" value="many"/>').encode(), "'many', which is no int"),
        ("nameless.xes", b"<log><trace><event></event></trace></log>", "trace 1: it has no concept:name"),
        ("none.xes", b"<log></log>", "it holds no event"),
        ("photo.csv", b"\x89PNG\r\n\x00\x00\x01", "binary data"),
        ("latin.csv", (_CASES_ROW + "2,Geb\xfchr,2011-10-02\n").encode("latin-1"), "not UTF-8"),
        ("short.csv", (_CASES_ROW + "2,A_DECLINED\n").encode(), "short.csv, line 3: it has 2 values for 3 columns"),
        ("quote.csv", (_CASES_ROW + '2,"A"x,2011-10-01\n').encode(), "line 3"),
        ("when.csv", (_CASES_ROW + "2,A_DECLINED,soon\n").encode(), "line 3: its 'timestamp' is 'soon'"),
        ("caseless.csv", (_CASES_ROW + ",A_DECLINED,2011-10-01\n").encode(), "line 3: its 'case_id' is empty"),
        ("columns.csv", b"a,b\n1,2\n", "has a usual name for the event's stream"),
        ("line.jsonl", b'{"case_id":"1","activity":"A","n":1}\n{"case_id":\n', "line 2: it is not a JSON object"),
        ("line.jsonl", b'{"position":1,"stream":"a-1","version":1,"id":"x","type":"A"}\n', "line 1: it is no event"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence_and_makes_no_store(
    run: Run, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    refused = run("import", name, "--into", "sqlite:///new.db", code=1)
    assert says in refused.stderr
    assert refused.stderr.startswith(f"headwater: {name}")
    assert refused.stderr.count("\n") == 1
    assert refused.stdout == ""
    assert not (tmp_path / "new.db").exists()


def test_events_before_a_later_fault_are_kept_and_the_import_goes_on_when_it_is_corrected(
    run: Run, tmp_path: Path
) -> None:
    rows = "".join(f"{number},A_SUBMITTED,2011-10-01\n" for number in range(5000))
    (tmp_path / "bad.csv").write_text("case_id,activity,timestamp\n" + rows + "5000,,2011-10-01\n")
    refused = run("import", "bad.csv", "--into", "sqlite:///b.db", code=1)
    assert "bad.csv, line 5002" in refused.stderr
    (tmp_path / "bad.csv").write_text("case_id,activity,timestamp\n" + rows + "5000,A_SUBMITTED,2011-10-01\n")
    done = json.loads(run("import", "bad.csv", "--into", "sqlite:///b.db", "--json").stdout)
    assert done["present"] == 4000
    assert done["added"] == 1001


def test_an_export_comes_in_again_as_it_was(run: Run, imported: str) -> None:
    run("export", imported, "--to", "loans.jsonl.gz")
    run("import", "loans.jsonl.gz", "--into", "sqlite:///copy.db")
    assert exported(run, "sqlite:///copy.db") == exported(run, imported)
    assert json.loads(run("import", "loans.jsonl.gz", "--into", imported, "--json").stdout)["added"] == 0


def test_an_event_of_any_kind_survives_export_and_import(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/odd.db"
    with headwater.sync.connect(url) as store:
        scan = headwater.NewEvent("ScanReceived", bytes(range(256)), content_type="image/png", tags=["a:1", "ü:€"])
        text = headwater.NewEvent("Noted", {"text": 'line\nbreak "quoted" \u2028 €', "n": 2**60, "f": 0.1, "x": None})
        raw = headwater.NewEvent("Copied", b'{\n  "a": 1.0\n}', content_type="application/vnd.bank+json")
        store.append("loan-1", [scan, text, raw])
        store.append(None, [headwater.NewEvent("RateSet", [4.5], tags=["rate:base"], metadata={"by": {"id": 7}})])
        store.append("loan-1", [headwater.NewEvent("Closed", {})])
        original = list(store.read_all())
    run("export", url, "--to", "odd.jsonl")
    run("import", "odd.jsonl", "--into", "sqlite:///copy.db")
    with headwater.sync.connect(f"sqlite:///{tmp_path}/copy.db") as copy:
        copied = list(copy.read_all())
    for was, now in zip(original, copied, strict=True):
        assert (now.position, now.stream, now.version, now.id) == (was.position, was.stream, was.version, was.id)
        assert (now.type, now.data, now.metadata) == (was.type, was.data, was.metadata)
        assert (now.tags, now.content_type) == (was.tags, was.content_type)
        assert now.occurred_us == was.recorded_us, "the first recording is not forgotten"


def test_a_part_of_a_store_is_not_taken_for_the_whole(run: Run, imported: str) -> None:
    run("export", imported, "--stream", "loan-173688", "--after", 3, "--to", "part.jsonl")
    refused = run("import", "part.jsonl", "--into", "sqlite:///part.db", code=1)
    assert "should follow version 3 of stream 'loan-173688', which has no events" in refused.stderr
    run("import", "part.jsonl", "--into", "sqlite:///part.db", "--join")
    assert [event["version"] for event in exported(run, "sqlite:///part.db")] == list(range(1, 24))


_BOUNDED = """
import pathlib, resource, runpy, sys
sys.argv = ["headwater", *sys.argv[1:]]
try:
    runpy.run_path(sys.argv.pop(1), run_name="__main__")
finally:
    status = pathlib.Path("/proc/self/status")  # where there is one: ru_maxrss remembers what the parent held as well
    if status.exists():
        print(status.read_text().partition("VmHWM:")[2].split()[0], file=sys.stderr)
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.slow
def test_the_full_log_killed_and_resumed_is_all_there_in_bounded_memory(
    run: Run, start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    process = start("import", FULL_LOG, "--into", "sqlite:///full.db", "--category", "loan")
    with headwater.sync.connect(f"sqlite:///{tmp_path}/full.db") as store:
        while store.head() < 20_000:
            assert store.wait(store.head(), timeout=60)
        process.kill()
        process.communicate()
        assert store.head() < 262_200
    done = json.loads(run("import", FULL_LOG, "--into", "sqlite:///full.db", "--category", "loan", "--json").stdout)
    assert done["present"] >= 20_000
    assert done["added"] + done["present"] == 262_200
    assert done["streams"] == 13_087
    checked = json.loads(run("verify", "sqlite:///full.db", "--json").stdout)
    assert (checked["events"], checked["streams"], checked["found"]) == (262_200, 13_087, 0)

    from tests.acceptance.conftest import PROGRAM

    arguments = ("import", str(FULL_LOG), "--into", "sqlite:///full.db", "--category", "loan", "--json")
    again = subprocess.run(
        [sys.executable, "-c", _BOUNDED, PROGRAM, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(again.stdout)["added"] == 0
    assert int(again.stderr) < 200_000, "kilobytes; the log unpacked is 74 MB, its element tree would be over 1 GB"


def test_a_gzip_file_of_csv_is_unpacked(run: Run, tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(_CASES_ROW.encode()))
    assert "1 events added" in run("import", "t.csv.gz", "--into", "sqlite:///g.db").stdout
