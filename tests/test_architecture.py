"""The house's rules, checked: who may import whom, and what every file and public name owes its reader."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "headwater"
FILES = sorted(SOURCE.rglob("*.py"))

LINES_MAX = 450

FORBIDDEN_NAMES = {"utils", "common", "helpers", "core", "misc", "util", "helper"}

SQL = re.compile(
    r"\b(select\b.+\bfrom|insert\s+into|update\b.+\bset|delete\s+from|create\s+(table|index|function))\b", re.I | re.S
)


def _name(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def test_arrows() -> None:
    """Rooms import what is below them, backends know no sibling, foreign packages stay in their own rooms."""
    lint = Path(sys.executable).with_name("lint-imports")
    command = [str(lint), "--config", "pyproject.toml", "--no-cache"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("module", ["headwater", "headwater.sync"])
def test_the_core_needs_msgspec_only(module: str) -> None:
    """Importing Headwater loads the standard library, msgspec and itself; no driver, and no backend either."""
    program = (
        "import sys, msgspec; before = set(sys.modules); import " + module + "\n"
        "new = {name for name in set(sys.modules) - before}\n"
        "foreign = {name.partition('.')[0] for name in new} - set(sys.stdlib_module_names) - {'headwater'}\n"
        "print(sorted(foreign), sorted(name for name in new if name.startswith('headwater.backends')))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"


def test_the_plugin_loads_pytest_only() -> None:
    """The pytest plugin, which every pytest run beside Headwater loads, needs neither Hypothesis nor pytest-asyncio."""
    program = (
        "import sys, msgspec, pytest; before = set(sys.modules); import headwater.testing.plugin\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['headwater']"


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_file(path: Path) -> None:
    """A file has a docstring, one subject's length, a name that says something, and no SQL in long strings."""
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "the module has no docstring"
    assert len(text.splitlines()) <= LINES_MAX, "the file is too long for one subject"
    assert path.stem not in FORBIDDEN_NAMES, "the module's name says nothing"
    statements = [each for each in _long_strings(tree) if SQL.search(each)]
    assert not statements, f"SQL belongs in a .sql file: {statements[0]!r:.100}"


def _long_strings(tree: ast.Module) -> Iterator[str]:
    """Strings of several lines that are no docstrings."""
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        text = isinstance(node, ast.Constant) and id(node) not in documentation and node.value
        if isinstance(text, str) and "\n" in text:
            yield text
