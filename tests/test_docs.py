"""The documents: what they show is run, and what they point to exists."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import headwater

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def programs(page: Path) -> str:
    return "\n".join(PYTHON.findall(page.read_text()))


RUNNABLE = [page for page in PAGES if programs(page) and page.parent.name != "reference"]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(ROOT)))
async def test_the_python_of_a_page_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = programs(page)
    if "asyncio.run(" in text:
        text = text.replace("asyncio.run(main())", "await main()")  # we are in a loop already
    code = compile(text, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    outcome = eval(code, {"__name__": "page"})
    if inspect.iscoroutine(outcome):
        await outcome


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    missing = [target for target in LINK.findall(page.read_text()) if not (page.parent / target).exists()]
    assert missing == []


def test_every_public_name_is_in_the_reference() -> None:
    reference = (ROOT / "docs" / "reference" / "api.md").read_text()
    assert [name for name in headwater.__all__ if f".{name}`" not in reference] == []


def test_every_error_is_in_the_tree_that_is_drawn_for_it() -> None:
    from headwater import errors

    drawn = inspect.getdoc(errors) or ""
    assert [name for name in errors.__all__ if name not in drawn] == []


def test_the_readme_shows_both_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "make demo" in readme
    assert "make test" in readme
