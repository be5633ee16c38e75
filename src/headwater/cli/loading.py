"""Finding what a command's argument names in the user's own code: ``package.module:Name``, or ``file.py:Name``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import typer

__all__ = ["named"]


def named(text: str, what: str) -> tuple[ModuleType, str]:
    """The module that the argument names, and the name in it. ``what``: for messages, such as "class"."""
    place, _, name = text.rpartition(":")
    if not place or not name.isidentifier():
        raise typer.BadParameter(f"{text!r} names no {what}: give package.module:Name, or file.py:Name.")
    return (_from_file(Path(place)) if place.endswith(".py") else _imported(place)), name


def _imported(place: str) -> ModuleType:
    sys.path.insert(0, "")  # what is importable here
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as missing:
        raise typer.BadParameter(f"there is no module {missing.name!r} to import, here or installed.") from None


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise typer.BadParameter(f"there is no file {path}.")
    return _loaded(path.resolve())


@cache
def _loaded(path: Path) -> ModuleType:
    """The file's module: the same for all arguments, or its classes would not know each other."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as missing:
        raise typer.BadParameter(
            f"{path} imports {missing.name!r}, which is neither beside it nor installed. "
            f"A file of a package is given as package.module:Name, from the folder that holds the package."
        ) from None
    return module
