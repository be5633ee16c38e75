"""Code that a command's argument names: found, or what to give instead."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import typer

from headwater.cli.loading import named


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_a_file_that_imports_what_is_not_there_says_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "loan_rules.py").write_text("from the_bank.events import CODEC\n")
    with pytest.raises(typer.BadParameter, match=r"loan_rules\.py imports 'the_bank'.*package\.module:Name"):
        named("loan_rules.py:LOAN", "rule")
