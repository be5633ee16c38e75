"""The other commands: what they show, how they refuse, and how they end."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import headwater.sync
from headwater.cli.app import app
from tests.acceptance.conftest import PROGRAM, SAMPLE_EVENTS, SAMPLE_LOG, Run

COMMANDS = sorted(command.name or "" for command in app.registered_commands)
GROUPS = {
    group.name or "": sorted(command.name or "" for command in group.typer_instance.registered_commands)
    for group in app.registered_groups
    if group.typer_instance is not None
}
GROUPED = [(group, name) for group, names in GROUPS.items() for name in names]
REFERENCE = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_is_in_the_reference(run: Run, name: str) -> None:
    help = run(name, "--help").stdout
    assert f"headwater {name}" in help
    assert name in ("demo",) or "Example" in help
    assert f"\n## `headwater {name}" in REFERENCE


@pytest.mark.parametrize(("group", "name"), GROUPED)
def test_every_command_of_a_group_explains_itself_and_is_in_the_reference(run: Run, group: str, name: str) -> None:
    help = run(group, name, "--help").stdout
    assert f"headwater {group} {name}" in help
    assert "Example" in help
    section = REFERENCE.partition(f"\n## `headwater {group}")[2].partition("\n## ")[0]
    assert f"`{name} " in section or f" {name} " in section


def test_every_option_that_the_reference_names_exists(run: Run) -> None:
    calls = [(name,) for name in COMMANDS] + GROUPED
    helps = "".join(run(*call, "--help").stdout for call in calls)
    named = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", REFERENCE)) - {"--help"}
    assert {option for option in named if option not in helps} == set()


def test_the_help_shows_what_there_is(run: Run) -> None:
    overview = run("--help").stdout
    assert all(f"│ {name} " in overview or f" {name} " in overview for name in [*COMMANDS, *GROUPS])
    assert headwater.__version__ in run("--version").stdout


def test_info_tells_what_a_store_is(run: Run, imported: str) -> None:
    text = run("info", imported).stdout
    assert "sqlite:///loans.db" in text
    assert "2,185" in text
    assert "loan" in text


def test_streams_are_listed_by_name_page_and_prefix(run: Run, imported: str) -> None:
    listed = [json.loads(line) for line in run("streams", imported, "--json").stdout.splitlines()]
    names = [each["name"] for each in listed]
    assert names == sorted(names)
    assert len(names) == 100
    assert listed[0]["version"] == 26
    page = run("streams", imported, "--after", names[0], "--limit", 2, "--json").stdout.splitlines()
    assert [json.loads(line)["name"] for line in page] == names[1:3]
    assert "loan-173688" in run("streams", imported, "--prefix", "loan-17368").stdout
    assert run("streams", imported, "--category", "order", "--json").stdout == ""
    table = run("streams", imported)
    assert "--after" in table.stderr, "50 of the 100 are shown, and it says how to go on"


def test_a_stream_is_read_both_ways_and_in_part(run: Run, imported: str) -> None:
    lines = run("read", imported, "loan-173688").stdout.splitlines()
    assert len(lines) == 26
    assert "loan-173688@1 " in lines[0]
    assert "2011-09-30 22:38:44" in lines[0]
    last = json.loads(run("read", imported, "loan-173688", "--backwards", "--limit", 1, "--json").stdout)
    assert last["version"] == 26
    part = run("read", imported, "loan-173688", "--after", 24, "--json").stdout.splitlines()
    assert [json.loads(line)["version"] for line in part] == [25, 26]


def test_the_log_answers_queries(run: Run, imported: str) -> None:
    found = run("log", imported, "--type", "A_APPROVED", "--tag", "resource:10629", "--json").stdout.splitlines()
    events = [json.loads(line) for line in found]
    assert events
    assert all(each["type"] == "A_APPROVED" and "resource:10629" in each["tags"] for each in events)
    newest = [
        json.loads(line) for line in run("log", imported, "--backwards", "--limit", 3, "--json").stdout.splitlines()
    ]
    assert [each["position"] for each in newest] == [SAMPLE_EVENTS, SAMPLE_EVENTS - 1, SAMPLE_EVENTS - 2]
    assert run("log", imported, "--category", "order").stdout == ""


def test_the_log_is_followed_across_processes(run: Run, start: Callable[..., subprocess.Popen[bytes]]) -> None:
    url = "sqlite:///calls.db"
    run("append", url, "call-1", "--type", "CallMade")
    follower = start("log", url, "--follow", "--json")
    assert follower.stdout is not None
    assert json.loads(follower.stdout.readline())["type"] == "CallMade"
    run("append", url, "call-1", "--type", "CallEnded")
    assert json.loads(follower.stdout.readline())["type"] == "CallEnded"
    follower.send_signal(signal.SIGINT)
    _, errors = follower.communicate(timeout=60)
    assert (follower.returncode, errors) == (130, b"headwater: interrupted\n")


def test_an_event_is_appended_once_with_all_that_is_said_of_it(run: Run) -> None:
    command = (
        *("append", "sqlite:///my.db", "loan-1", "--type", "LoanRequested", "--data", "-", "--tag", "clerk:112"),
        *("--metadata", '{"by": "web"}', "--id", "0198c6d2-3f5e-7000-8000-000000000001", "--expected", "no-stream"),
    )
    done = json.loads(run(*command, "--json", given='{"amount": 20000}').stdout)
    assert (done["version"], done["position"], done["duplicate"]) == (1, 1, False)
    assert "already stored" in run(*command, given='{"amount": 20000}').stdout
    (event,) = run("read", "sqlite:///my.db", "loan-1", "--json").stdout.splitlines()
    stored = json.loads(event)
    assert (stored["data"], stored["tags"], stored["metadata"]) == ({"amount": 20000}, ["clerk:112"], {"by": "web"})
    refused = run("append", "sqlite:///my.db", "loan-1", "--type", "LoanGranted", "--expected", 4, code=1)
    assert refused.stderr.startswith("headwater: stream 'loan-1' is at version 1, the append expected 4.")
    assert "version 2" in run("append", "sqlite:///my.db", "loan-1", "--type", "LoanGranted", "--expected", 1).stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("info sqlite:///none.db", "there is no store at none.db"),
        ("verify sqlite:///none.db", "there is no store at none.db"),
        ("read sqlite:///none.db loan-1", "there is no store at none.db"),
        ("log sqlite:///no/such/folder.db", "there is no store at no/such/folder.db"),
        ("export sqlite:///none.db", "there is no store at none.db"),
        ("append sqlite:///no/such/folder.db a-1 --type A", "the folder"),
        ("streams loans.db", "does not start with a scheme"),
        ("streams mysql://localhost/loans", "no backend answers to 'mysql'"),
        ("import none.xes --into sqlite:///new.db", "there is no such file"),
        ("import . --into sqlite:///new.db", "it can't be opened"),
        ("append sqlite:///new.db loan-1 --type A --id seven", "'seven' is not a UUID"),
    ],
)
def test_refusals_are_one_sentence(run: Run, tmp_path: Path, arguments: str, says: str) -> None:
    refused = run(*arguments.split(), code=1)
    assert says in refused.stderr
    assert refused.stderr.startswith("headwater: ")
    assert refused.stderr.count("\n") == 1
    assert refused.stdout == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        "bogus",
        "read sqlite:///a.db",
        "append sqlite:///a.db loan-1 --type A --data {",
        "append sqlite:///a.db loan-1 --type A --expected soon",
        "import file.xes",
        "import file.xes --into sqlite:///a.db --dry-run",
        "import file.xes --into sqlite:///a.db --tag-column resource",
        "log sqlite:///a.db --follow --backwards",
        "schema mysql",
        "schema sqlite --partition 7",
        "schema postgresql --table loans",
        "schema dynamodb --schema loans",
    ],
)
def test_wrong_usage_is_said_with_code_2(run: Run, tmp_path: Path, arguments: str) -> None:
    assert "Usage: headwater" in run(*arguments.split(), code=2).stderr
    assert not list(tmp_path.iterdir())


def test_a_stream_that_is_not_there_is_said(run: Run, imported: str) -> None:
    assert "there is no stream 'loan-9'" in run("read", imported, "loan-9", code=1).stderr


def test_a_file_that_is_no_store_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("these are not events, and nobody may write over them")
    before = (tmp_path / "notes.db").read_bytes()
    for command in (("info",), ("append", "loan-1", "--type", "A"), ("verify",)):
        assert "notes.db" in run(command[0], "sqlite:///notes.db", *command[1:], code=1).stderr
    assert (tmp_path / "notes.db").read_bytes() == before


def test_a_reader_that_has_gone_ends_the_command_quietly(imported: str, tmp_path: Path) -> None:
    for command in ("log", "export"):
        line = f"set -o pipefail; {shlex.quote(str(PROGRAM))} {command} {imported} | head -n 1"
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 141
        assert done.stderr == ""
        assert done.stdout.count("\n") == 1


def test_exports_can_be_chosen_and_appear_whole(run: Run, imported: str, tmp_path: Path) -> None:
    one = run("export", imported, "--stream", "loan-173688", "--after", 20).stdout.splitlines()
    assert [json.loads(line)["position"] for line in one] == list(range(21, 27))
    done = run("export", imported, "--category", "loan", "--to", "loans.jsonl")
    assert "exported 2,185 events to loans.jsonl" in done.stderr
    assert len((tmp_path / "loans.jsonl").read_text().splitlines()) == SAMPLE_EVENTS
    assert not (tmp_path / "loans.jsonl.partial").exists()


def test_the_schema_is_printed_as_it_is_run(run: Run) -> None:
    assert "create table events" in run("schema").stdout
    assert run("schema", "sqlite", "--print").stdout == run("schema").stdout
    postgres = run("schema", "postgresql", "--schema", "bank", "--partition", 1_000_000).stdout
    assert "bank" in postgres
    assert "partition by range" in postgres.lower()
    assert 'TableName: "loans"' in run("schema", "dynamodb", "--table", "loans").stdout
    assert 'name = "loans"' in run("schema", "dynamodb", "--table", "loans", "--for", "terraform").stdout


def test_the_demo_shows_its_scenes_and_can_be_repeated(run: Run) -> None:
    first = run("demo", "--file", SAMPLE_LOG).stdout
    assert "2,185 events added, 0 were there already" in first
    assert "0 events added, 2,185 were there already" in first
    assert "WrongExpectedVersion: stream 'loan-173688' is at version 26, the append expected 25." in first
    assert "duplicate=True; head 2,185" in first
    assert re.search(r"all +\d+ +\d+ +\d+ +\d+ +100", first), "the read model counts every application"
    prose = first.partition("Try next")[0]
    assert max(map(len, prose.splitlines())) <= 100
    second = run("demo", "--file", SAMPLE_LOG).stdout
    assert "0 events added, 2,185 were there already" in second
    for line in second.partition("Try next")[2].split("\n"):
        if line.strip():
            run(*shlex.split(line)[1:])


def test_without_typer_it_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['typer'] = None; import headwater.cli; headwater.cli.main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "headwater: the command line needs 'typer': pip install 'headwater[cli]'\n"
