"""The table as infrastructure tools make it, with the policy of those who use it."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Literal

from headwater.errors import InvalidEvent

__all__ = ["TABLE", "Tool", "template"]

Tool = Literal["cloudformation", "terraform"]

TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
"""AWS: naming rules of DynamoDB."""

_FILES: dict[Tool, str] = {"cloudformation": "cloudformation.yaml", "terraform": "terraform.tf"}


def template(tool: Tool, table: str = "headwater") -> str:
    """The text of a template for a table of this name. ``InvalidEvent`` where no table can have it."""
    if not TABLE.fullmatch(table):
        raise InvalidEvent(
            f"{table!r} is no table's name", "Give 3 to 255 letters, digits, underscores, hyphens and dots."
        )
    return files(__name__).joinpath(_FILES[tool]).read_text(encoding="utf-8").replace("@TABLE@", table)
